//! Recording does not touch the memory of what it records.

use tch::Device;
use tch::nn::VarStore;
use tch_init::nn;
use tch_init::plan::record;

/// A gigabyte that is never touched.
#[test]
fn memory_is_not_touched() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes: u64 = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kilobytes * 1024
    };
    let vs = VarStore::new(Device::Cpu);
    let before = resident();
    let ((), plan) = record("large", &vs, || {
        let config = nn::LinearConfig {
            bias: false,
            ..Default::default()
        };
        drop(nn::linear(vs.root(), 1 << 14, 1 << 14, config));
    })
    .unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes");
    assert_eq!(plan.names().count(), 1);
}
