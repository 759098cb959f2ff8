//! Passwords that come from Secrets.

use anyhow::{Result, ensure};
use ferrolb_e2e::{
    capture::Capture,
    fabric::TOR,
    lab::DEADLINE,
    tcp::{MD5, segments},
    wait,
};

use crate::{peers::PASSWORD, world::World};

/// A password that moves from the peer's object into a Secret is the same password, and nobody notices. Another one in
/// the Secret is another one of that session; segments are signed all the time. A Secret of another type changes
/// nothing but a problem.
#[test]
fn a_secret_is_the_password() -> Result<()> {
    let world = World::get()?;
    let router = world.router("go")?;
    let wire = Capture::start(&world.lab.fabric.warden, router.net(), TOR, "tcp port 1790")?;
    let heard = || Ok::<_, anyhow::Error>(segments(&wire.frames()?));
    let calls = || Ok::<_, anyhow::Error>(heard()?.iter().filter(|segment| segment.calls).count());
    let put = |kind: &str, password: &str| world.lab.manifests.put("secret", &secret(kind, password));
    let moved = world.peer("go")?.without("password").with("passwordSecret", "{name: of-go}");
    let noted = || Ok(world.lab.manifests.problems("speaker-n1")?.contains("secret"));

    put("kubernetes.io/basic-auth", PASSWORD)?;
    world.step(&[], || world.put(&moved), || world.up("go"))?;
    // what was noticed at all was noticed by now
    crate::users::settled(&world)?;
    world.undisturbed(&[])?;

    world.step(&["go"], || put("kubernetes.io/basic-auth", "not-this-one"), || world.down("go"))?;
    let before = calls()?;
    wait::until_true(DEADLINE, "calls that nobody hears", || Ok(calls()? > before + 6))?;
    world.down("go")?;
    world.step(&["go"], || put("kubernetes.io/basic-auth", PASSWORD), || world.up("go"))?;

    world.step(
        &[],
        || put("Opaque", "not-this-one"),
        || wait::until_true(DEADLINE, "a problem about the Secret", noted),
    )?;
    crate::users::settled(&world)?;
    world.undisturbed(&[])?;
    put("kubernetes.io/basic-auth", PASSWORD)?;
    wait::until_true(DEADLINE, "no problem any more", || Ok(!noted()?))?;

    let unsigned: Vec<_> = heard()?.into_iter().filter(|segment| !segment.options.contains(&MD5)).collect();
    ensure!(unsigned.is_empty(), "{unsigned:#?}");
    ensure!(heard()?.iter().any(|segment| !segment.data.is_empty()), "nothing was said");
    for node in world.lab.names() {
        let log = world.lab.speaker_log(&node)?;
        ensure!(!log.contains(PASSWORD) && !log.contains("not-this-one"), "{node} logs a password");
    }
    // back to the field, with the Secret still there
    world.step(&[], || world.put(&world.peer("go")?), || crate::users::settled(&world))
}

fn secret(kind: &str, password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: of-go\n  namespace: metallb-system\ntype: {kind}\n\
         stringData:\n  password: {password}\n"
    )
}
