//! The lab and the test cluster: real routing daemons, real clients and the real product in network namespaces.
//!
//! - [`warden`]: a lab's name and directory, and the process that cleans up after it
//! - [`netns`]: namespaces and the cables between them; [`fabric`]: all of a lab's, with addresses
//! - [`process`], [`bins`], [`wait`]: programs, where they are, and waiting for what they do
//! - [`calm`]: verdicts of milliseconds, and whether the machine ran meanwhile
//! - [`frr`]: a node's or a router's FRR; [`tor`]: the two routers and their tables; [`pod`]: what Services lead to
//! - [`peer`]: routers of every make (FRR 8 and 10, BIRD, GoBGP), configured by the test, with one view of all
//! - [`capture`], [`tcp`], [`updates`], [`neighbour`]: the wire, and what BGP, ARP and NDP said on it
//! - [`asking`], [`load`]: a client that never stops asking who has an address, and a user who never stops using it;
//!   [`requests`]: the same while routes move, and which requests were lost by that
//! - [`objects`], [`manifests`], [`election`]: what users write, what the product answers, what it should decide
//! - [`models`]: configurations of FRR, at random; [`recorder`]: a neighbour that writes down what FRR tells it
//! - [`raw`]: frames that no common tool sends; [`flat`]: the flat segment alone, speakers without FRR
//! - [`lab`]: all of it together with the product; [`demo`]: what `make demo` shows of it
//! - [`cluster`]: a real Kubernetes among the namespaces; [`bench`]: measurements on it
//! - [`install`]: the same with real nodes: kubelet, containerd and the product's images
//!
//! Nothing here runs outside the namespaces that it makes, except for programs that reach no network.

pub mod asking;
pub mod bench;
pub mod bins;
pub mod calm;
pub mod capture;
pub mod cluster;
pub mod demo;
pub mod election;
pub mod fabric;
pub mod flat;
pub mod frr;
pub mod install;
pub mod lab;
pub mod load;
pub mod manifests;
pub mod models;
pub mod neighbour;
pub mod netns;
pub mod objects;
pub mod peer;
pub mod pod;
pub mod process;
pub mod raw;
pub mod recorder;
pub mod requests;
pub mod tcp;
pub mod tor;
pub mod updates;
pub mod wait;
pub mod warden;
