#![no_main]

use tch_init::plan::InitPlan;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    match InitPlan::from_json(json) {
        Ok(plan) => {
            assert!(!plan.to_string().contains('\0'));
            for (name, _) in plan.names() {
                assert!(plan.get(name).is_some());
            }
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
});
