use super::*;
use std::fs;

/// Memory that comes from the system itself, which new allocations of this size do.
#[test]
fn new_memory_is_told_from_touched_memory() {
    let mut values = vec![0f32; 8 << 20];
    assert!(is_new(&values));
    let memory = Memory::of(&values);
    memory.touch(&mut values[..4 << 20]);
    assert!(!is_new(&values[..4 << 20]));
    assert!(is_new(&values));
    // One byte off, so that no page begins or ends with the values.
    let length = values.len();
    memory.touch(&mut values[1..length - 1]);
    assert!(!is_new(&values));
    assert!(values.iter().all(|value| *value == 0.0));
    assert!(!is_new::<f32>(&[]));
}

/// Large pages that have just taken a second.
fn slow() -> Pace {
    let mut pace = Pace::new();
    pace.took(Duration::from_secs(1), Instant::now());
    pace
}

/// What the system was last advised of the page that holds an address: that large pages are wanted, or
/// not; `None` if it was not.
fn advice<T>(address: *const T) -> Option<bool> {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut here, mut flags) = (false, "");
    for line in maps.lines() {
        if let Some((begin, rest)) = line.split_once('-')
            && let Ok(begin) = usize::from_str_radix(begin, 16)
        {
            let end = rest.split(' ').next().unwrap();
            let end = usize::from_str_radix(end, 16).unwrap();
            here = (begin..end).contains(&address.addr());
        }
        if here && let Some(found) = line.strip_prefix("VmFlags:") {
            flags = found;
        }
    }
    let has = |wanted| flags.split(' ').any(|flag| flag == wanted);
    has("hg").then_some(true).or(has("nh").then_some(false))
}

#[test]
fn large_pages_are_asked_for_as_long_as_they_are_fast() {
    static NEVER: LargePages = LargePages::Never;
    static ALWAYS: LargePages = LargePages::Always;
    static PACED: LargePages = LargePages::AsLongAsFast(Mutex::new(Pace::new()));
    let set = |pace| {
        if let LargePages::AsLongAsFast(known) = &PACED {
            *locked(known) = pace;
        }
    };
    let advises = fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap();
    if !advises {
        eprintln!("NOT TESTED: this kernel takes no advice of large pages");
    }
    for (pages, begin, first, end, then) in [
        (&NEVER, Pace::new(), None, Pace::new(), None),
        (&ALWAYS, slow(), Some(true), slow(), Some(true)),
        (&PACED, Pace::new(), Some(true), slow(), Some(false)),
        (&PACED, slow(), None, slow(), None),
    ] {
        // So large that the allocator always takes it from the system.
        let mut values = vec![0u8; 40 << 20];
        values[5 << 20] = 7;
        set(begin);
        let memory = Memory::new(pages, &values);
        for place in [0, 20 << 20, values.len() - 1] {
            let advice = advice(&raw const values[place]);
            assert!(
                !advises || advice == first,
                "{pages:?} at {place}: {advice:?}"
            );
        }
        set(end);
        memory.touch(&mut values);
        for place in [0, 20 << 20, values.len() - 1] {
            let advice = advice(&raw const values[place]);
            assert!(
                !advises || advice == then,
                "{pages:?} at {place}: {advice:?}"
            );
        }
        assert!(!is_new(&values));
        assert_eq!(values.iter().map(|value| u32::from(*value)).sum::<u32>(), 7);
    }
}
