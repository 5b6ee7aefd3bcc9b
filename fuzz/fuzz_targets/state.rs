#![no_main]

use tch_init::distribution::{normal_, uniform_};
use tch_init::rng::{Mt19937, STATE_LEN, State};

// The first bytes are the fields at the start and the end of a state. The words in between are arbitrary.
libfuzzer_sys::fuzz_target!(|fields: &[u8]| {
    let mut bytes = [0; STATE_LEN];
    let (begin, end) = fields.split_at(fields.len().min(24));
    bytes[..begin.len()].copy_from_slice(begin);
    let at = STATE_LEN - end.len().min(40);
    bytes[at..].copy_from_slice(&end[..STATE_LEN - at]);
    let Ok(state) = State::from_bytes(&bytes) else {
        return;
    };
    assert_eq!(
        State::from_bytes(&state.to_bytes())
            .as_ref()
            .map(State::to_bytes),
        Ok(state.to_bytes())
    );
    // Every accepted state can be drawn from.
    let mut generator = Mt19937::from_state(&state).unwrap();
    let mut values = [0f32; 700];
    uniform_(&mut generator, &mut values, 0.0, 1.0).unwrap();
    normal_(&mut generator, &mut values[..5], 0.0, 1.0).unwrap();
    generator.skip(3_000_000);
    assert!(State::from_bytes(&generator.to_state().to_bytes()).is_ok());
});
