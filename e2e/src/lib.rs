//! The lab and the test cluster.
