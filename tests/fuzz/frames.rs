//! Frames: at random, and good ones spoilt in the ways that wires, stacks and attackers have.

use crate::{dice::Dice, oracle};

/// What addresses there are: those of interest first. Most frames have some of these, so that many come far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool<'a> {
    /// Hardware addresses: the node's, then other stations', then those of no station.
    pub(crate) macs: [&'a [[u8; 6]]; 3],
    /// The node's addresses and the others.
    pub(crate) v4: (&'a [[u8; 4]], &'a [[u8; 4]]),
    /// The same.
    pub(crate) v6: (&'a [[u8; 16]], &'a [[u8; 16]]),
}

impl Pool<'_> {
    fn any(&self, dice: &mut Dice) -> [u8; 6] {
        let of = dice.one(&self.macs);
        dice.one(of)
    }

    fn sender(&self, dice: &mut Dice) -> [u8; 6] {
        if dice.once_in(12) { self.any(dice) } else { dice.one(self.macs[1]) }
    }

    fn receiver(&self, dice: &mut Dice) -> [u8; 6] {
        if dice.once_in(8) { self.any(dice) } else { dice.one(self.macs[0]) }
    }
}

/// One of the first mostly, of the second sometimes.
fn mostly<T: Copy>(dice: &mut Dice, first: &[T], second: &[T]) -> T {
    let of = if dice.once_in(8) { second } else { first };
    dice.one(of)
}

/// A frame.
pub(crate) fn frame(dice: &mut Dice, pool: &Pool<'_>) -> Vec<u8> {
    if dice.once_in(5) {
        return noise(dice);
    }
    let mut frame = if dice.once_in(2) { arp(dice, pool) } else { neighbour(dice, pool) };
    // a third is left whole
    for _ in 0..dice.below(6).saturating_sub(1) {
        spoil(dice, &mut frame);
    }
    if dice.once_in(2) {
        put_sum_right(&mut frame);
    }
    frame
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.once_in(4) { dice.below(9000) } else { dice.below(100) };
    let mut frame = dice.octets(length);
    if length >= 14 && dice.once_in(2) {
        frame[12..14].copy_from_slice(&dice.one(&[[0x08, 0x06], [0x86, 0xdd]]));
    }
    frame
}

fn arp(dice: &mut Dice, pool: &Pool<'_>) -> Vec<u8> {
    let sender = pool.sender(dice);
    // most say the same in the frame as in the packet
    let source = if dice.once_in(8) { pool.any(dice) } else { sender };
    let to = if dice.once_in(2) { [0xff; 6] } else { pool.receiver(dice) };
    let operation = dice.one(&[1, 1, 1, 1, 2, 2, 3, 8]);
    let (ours, others) = pool.v4;
    let mut frame = [&to[..], &source, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation], &sender].concat();
    frame.extend(mostly(dice, others, ours));
    frame.extend(pool.any(dice));
    frame.extend(mostly(dice, ours, others));
    if dice.once_in(2) {
        frame.resize(60, 0);
    }
    frame
}

fn neighbour(dice: &mut Dice, pool: &Pool<'_>) -> Vec<u8> {
    let (ours, others) = pool.v6;
    let (source, target) = (mostly(dice, others, ours), mostly(dice, ours, others));
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target[13], target[14], target[15]];
    let destination = match dice.below(8) {
        0 | 1 => target,
        2 => dice.one(others),
        _ => group,
    };
    let [.., a, b, c, d] = destination;
    let to = match dice.below(12) {
        0 => pool.any(dice),
        1 => [0xff; 6],
        _ if destination[0] == 0xff => [0x33, 0x33, a, b, c, d],
        _ => pool.receiver(dice),
    };
    let kind = dice.one(&[135, 135, 135, 135, 135, 136, 136, 133, 128]);
    let mut message = vec![kind, 0, 0, 0, if kind == 136 { dice.octet() & 0xe0 } else { 0 }, 0, 0, 0];
    message.extend(target);
    for _ in 0..dice.below(3) {
        let option = dice.one(&[1, 1, 1, 2, 14]);
        message.extend([option, 1]);
        message.extend(pool.sender(dice));
    }
    let mut frame = [&to[..], &pool.sender(dice), &[0x86, 0xdd, 0x60, 0, 0, 0, 0]].concat();
    frame.extend([u8::try_from(message.len()).unwrap(), 58, 255]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend(message);
    put_sum_right(&mut frame);
    frame
}

fn spoil(dice: &mut Dice, frame: &mut Vec<u8>) {
    let length = frame.len().max(1);
    match dice.below(12) {
        0 => frame.truncate(dice.below(length)),
        1 => {
            let more = dice.one(&[1, 8, 64, 1500, 9000]);
            let more = dice.below(more) + 1;
            frame.extend(dice.octets(more));
        }
        // tagged, once or twice
        2 if length >= 14 => {
            for _ in 0..=dice.below(2) {
                let tag =
                    [dice.one(&[0x81, 0x88]), dice.one(&[0x00, 0xa8]), dice.octet() & 0x0f, dice.octet()];
                frame.splice(12..12, tag);
            }
        }
        // lengths of ARP's addresses, and what they are of
        3 => set(frame, 14 + dice.below(8), dice.one(&[0, 1, 2, 4, 6, 8, 16, 255])),
        // the length in the header of IPv6
        4 => {
            set(frame, 18, dice.one(&[0, 0, 0, 1, 255]));
            set(frame, 19, dice.octet());
        }
        5 => set(frame, 21, dice.one(&[0, 1, 64, 254, 255])),
        // the length of the first or second option
        6 => set(frame, 79 + 8 * dice.below(2), dice.one(&[0, 1, 2, 3, 32, 255])),
        // a header between, with nothing in it
        7 if length > 54 => {
            let next = frame[20];
            frame.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
            frame[20] = dice.one(&[0, 43, 44, 60]);
            frame[19] = frame[19].wrapping_add(8);
        }
        8 => set(frame, dice.below(length), dice.octet()),
        9 => {
            let at = dice.below(length);
            let bit = 1 << dice.below(8);
            if let Some(octet) = frame.get_mut(at) {
                *octet ^= bit;
            }
        }
        10 => {
            set(frame, 12, dice.one(&[0x08, 0x86, 0x81, 0x00]));
            set(frame, 13, dice.one(&[0x06, 0xdd, 0x00, 0x26]));
        }
        // the code, or the kind of message
        _ => set(frame, 54 + dice.below(2), dice.one(&[0, 1, 133, 135, 136, 137])),
    }
}

fn set(frame: &mut [u8], at: usize, octet: u8) {
    if let Some(place) = frame.get_mut(at) {
        *place = octet;
    }
}

/// Makes the checksum right for as much as the header says that there is, if there is.
fn put_sum_right(frame: &mut [u8]) {
    if frame.len() < 58 || frame[12..14] != [0x86, 0xdd] {
        return;
    }
    let end = 54 + usize::from(frame[18]) * 256 + usize::from(frame[19]);
    if end < 58 || end > frame.len() {
        return;
    }
    let (source, destination) = (frame[22..38].try_into().unwrap(), frame[38..54].try_into().unwrap());
    frame[56..58].copy_from_slice(&[0, 0]);
    let sum = !oracle::sum(source, destination, &frame[54..end]);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
}
