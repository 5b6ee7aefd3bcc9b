#![no_main]

use tch_init::plan::InitPlan;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    match InitPlan::from_json(json) {
        Ok(plan) => {
            assert!(!plan.to_string().contains('\0'));
            let json = plan.to_json();
            let again = InitPlan::from_json(json.as_bytes()).map(|again| again.to_json());
            assert_eq!(again.ok(), Some(json));
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
