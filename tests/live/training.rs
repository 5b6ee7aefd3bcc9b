//! Training runs with Python's bits, from a seed alone: every loss, every parameter, and the generator at the end.

use super::trace_ports::{bce, discriminator, generator, gpt, mlp, tagger};
use crate::common::{bytes, default_stream, run_reference};
use serde_json::json;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};
use tch_init::data::DataLoader;
use tch_init::optim::{
    Adam, AdamW, CosineAnnealingLR, LinearLR, OptimizerConfig, SGD, sequential_lr,
};
use tch_init::rng::STATE_LEN;
use tch_init::{get_rng_state, manual_seed};

const CPU: Device = Device::Cpu;
const STEPS: usize = 100;

/// The losses and the models' variables.
type Run = (Vec<Tensor>, Vec<VarStore>);

fn integers(high: i64, shape: &[i64]) -> Tensor {
    Tensor::randint(high, shape, (Kind::Int64, CPU))
}

fn train_mlp() -> Run {
    let vs = VarStore::new(CPU);
    let model = mlp(&vs);
    let (x, y) = (Tensor::randn([50, 20], FLOAT_CPU), integers(10, &[50]));
    let loader = DataLoader::new(50).batch_size(16).shuffle(true);
    let sgd = SGD::default().momentum(0.9).nesterov(true);
    let mut optimizer = sgd.build(&vs, 0.05).unwrap();
    let mut losses = Vec::new();
    while losses.len() < STEPS {
        for batch in loader.tensors([&x, &y]).unwrap() {
            let [x, y] = batch.unwrap();
            let loss = model(&x).cross_entropy_for_logits(&y);
            optimizer.backward_step(&loss);
            losses.push(loss);
        }
    }
    (losses, vec![vs])
}

fn train_tagger() -> Run {
    let vs = VarStore::new(CPU);
    let model = tagger(&vs);
    let (x, y) = (integers(50, &[3, 6]), integers(7, &[18]));
    let mut optimizer = Adam::default().build(&vs, 1e-2).unwrap();
    let losses = (0..STEPS).map(|_| {
        let loss = model(&x).cross_entropy_for_logits(&y);
        optimizer.backward_step(&loss);
        loss
    });
    (losses.collect(), vec![vs])
}

fn train_gpt() -> Run {
    let vs = VarStore::new(CPU);
    let model = gpt(&vs);
    let tokens = integers(40, &[200]);
    let adamw = AdamW::default().betas((0.9, 0.95)).weight_decay(0.1);
    let mut optimizer = adamw.build(&vs, 3e-3).unwrap();
    let warm_up = LinearLR::new().start_factor(0.1).total_iters(10);
    let warm_up = warm_up.build(&mut optimizer).unwrap();
    let cosine = CosineAnnealingLR::new(STEPS as i64 - 10);
    let cosine = cosine.build(&mut optimizer).unwrap();
    let mut scheduler = sequential_lr(&mut optimizer, vec![warm_up, cosine], &[10]).unwrap();
    let losses = (0..STEPS).map(|_| {
        let at = Vec::<i64>::try_from(integers(187, &[3])).unwrap();
        let [x, y] = [0, 1].map(|shift| {
            let rows: Vec<Tensor> = at.iter().map(|i| tokens.narrow(0, i + shift, 12)).collect();
            Tensor::stack(&rows, 0)
        });
        let loss = model(&x).cross_entropy_for_logits(&y.flatten(0, -1));
        optimizer.backward_step_clip_norm(&loss, 1.0);
        scheduler.step(&mut optimizer).unwrap();
        loss
    });
    (losses.collect(), vec![vs])
}

fn train_dcgan() -> Run {
    let (vs_g, vs_d) = (VarStore::new(CPU), VarStore::new(CPU));
    let (generate, judge) = (generator(&vs_g), discriminator(&vs_d));
    let real = Tensor::randn([4, 1, 8, 8], FLOAT_CPU);
    let adam = |vs| Adam::default().betas((0.5, 0.999)).build(vs, 2e-4).unwrap();
    let (mut optimizer_g, mut optimizer_d) = (adam(&vs_g), adam(&vs_d));
    let (ones, zeros) = (
        || Tensor::ones([4], FLOAT_CPU),
        || Tensor::zeros([4], FLOAT_CPU),
    );
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let fake = generate(&Tensor::randn([4, 8, 1, 1], FLOAT_CPU));
        let loss = bce(&judge(&real), ones()) + bce(&judge(&fake.detach()), zeros());
        optimizer_d.backward_step(&loss);
        losses.push(loss);
        let loss = bce(&judge(&fake), ones());
        optimizer_g.backward_step(&loss);
        losses.push(loss);
    }
    (losses, vec![vs_g, vs_d])
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn every_loss_and_every_parameter_is_pythons() {
    let request = json!({ "threads": tch::get_num_threads(), "steps": STEPS });
    let (runs, expected) = run_reference("tests/python/training.py", &request);
    let mut rest = &expected[..];
    let mut take = |length: usize| {
        let (chunk, after) = rest.split_at(length);
        rest = after;
        chunk
    };
    let _stream = default_stream();
    let trains: [fn() -> Run; 4] = [train_mlp, train_tagger, train_gpt, train_dcgan];
    for (run, train) in runs.as_array().unwrap().iter().zip(trains) {
        let name = run["name"].as_str().unwrap();
        manual_seed(1).unwrap();
        let (losses, stores) = train();
        let state = get_rng_state().unwrap();
        let bits: Vec<u32> = losses
            .iter()
            .map(|loss| (f64::try_from(loss).unwrap() as f32).to_bits())
            .collect();
        let expected: Vec<u32> = serde_json::from_value(run["losses"].clone()).unwrap();
        assert_eq!(bits.len(), expected.len(), "{name}");
        let first = (0..bits.len()).find(|&i| bits[i] != expected[i]);
        assert_eq!(first, None, "{name}: the first loss that differs");
        assert!(bits[0] != bits[bits.len() - 1], "{name} trains");
        let mut variables: Vec<_> = stores.iter().map(VarStore::variables).collect();
        for parameter in run["parameters"].as_array().unwrap() {
            let full = parameter[0].as_str().unwrap();
            let (store, path) = full.split_once('.').unwrap();
            let variables = &mut variables[store.parse::<usize>().unwrap()];
            let tensor = variables
                .remove(path)
                .unwrap_or_else(|| panic!("{name}: {full}"));
            let length = parameter[1].as_u64().unwrap() as usize;
            assert!(bytes(&tensor) == take(length), "{name}: {full}");
        }
        assert!(state == take(STATE_LEN), "{name}: the generator");
    }
    assert!(rest.is_empty());
}
