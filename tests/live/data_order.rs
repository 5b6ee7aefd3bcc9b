//! The order of data against `torch.utils.data`: every index, every seed, and both generators at the end.

use crate::common::{default_stream, run_reference};
use serde::Serialize;
use serde_json::{Value, json};
use tch::{Device, Tensor, kind::FLOAT_CPU};
use tch_init::data::{
    DataError, DataLoader, DistributedSampler, RandomSampler, SubsetRandomSampler,
    WeightedRandomSampler, random_split, random_split_fractions,
};
use tch_init::rng::{Mt19937, STATE_LEN};
use tch_init::{Generator, get_rng_state, manual_seed};

/// A case, with the names that `tests/python/data_order.py` has for it.
#[derive(Debug, Clone, Default, Serialize)]
struct Case {
    seed: u32,
    generator: Option<u32>,
    loader_generator: bool,
    n: usize,
    sampler: &'static str,
    shuffle: bool,
    batch_size: usize,
    drop_last: bool,
    epochs: usize,
    stop: usize,
    draw_between: bool,
    replacement: bool,
    num_samples: usize,
    weights: Vec<f64>,
    replicas: usize,
    rank: usize,
    shuffled: bool,
    sampler_seed: i64,
    drop_last_replicas: bool,
    epoch: i64,
    lengths: Vec<Value>,
}

fn cases() -> Vec<Case> {
    let mut words = Mt19937::new(17);
    let mut below = |n: u32| (words.random64() % u64::from(n)) as u32;
    let mut cases = Vec::new();
    for i in 0..1200 {
        let n = below(40) as usize;
        let sampler = ["", "", "random", "subset", "weighted", "distributed"][below(6) as usize];
        let replacement = below(2) == 0;
        let replicas = 1 + below(5) as usize;
        cases.push(Case {
            seed: below(1000),
            generator: (below(2) == 0).then(|| below(1000)),
            loader_generator: false,
            n,
            sampler,
            shuffle: sampler.is_empty() && below(4) != 0,
            batch_size: below(9) as usize,
            drop_last: below(2) == 0,
            epochs: 1 + below(3) as usize,
            stop: below(8) as usize,
            draw_between: below(2) == 0,
            replacement,
            num_samples: match sampler {
                "weighted" if !replacement && below(8) != 0 => below(n as u32 + 1) as usize,
                _ => below(100) as usize,
            },
            weights: (0..n).map(|_| f64::from(below(50)) / 7.0).collect(),
            replicas,
            rank: below(replicas as u32 + u32::from(i % 10 == 0)) as usize,
            shuffled: below(3) != 0,
            sampler_seed: i64::from(below(50)) - 10,
            drop_last_replicas: below(2) == 0,
            epoch: i64::from(below(5)),
            lengths: Vec::new(),
        });
        let case = cases.last_mut().unwrap();
        case.loader_generator = case.generator.is_some() && below(2) == 0;
    }
    // A larger dataset, and both options that decide the order.
    for (n, shuffle, sampler) in [(100_000, true, ""), (9, true, "random")] {
        cases.push(Case {
            seed: 5,
            n,
            shuffle,
            sampler,
            num_samples: n,
            batch_size: 1000,
            epochs: 1,
            ..Case::default()
        });
    }
    let integers = [
        &[3, 7][..],
        &[10],
        &[0, 10],
        &[4, 4],
        &[1],
        &[1, 0],
        &[0, 0, 1],
        &[],
    ];
    for lengths in integers {
        for n in [0, 1, 10] {
            cases.push(split(n, lengths.iter().map(|l| json!(l)).collect()));
        }
    }
    let fractions = [
        &[0.3, 0.3, 0.4][..],
        &[0.1, 0.2, 0.7],
        &[0.8, 0.2],
        &[1.0],
        &[0.9],
        &[0.5, 0.6],
        &[1.5, -0.5],
        &[0.999_999_999_9],
        &[0.25; 4],
        &[0.1; 10],
    ];
    for lengths in fractions {
        for n in [0, 1, 3, 10, 31, 1007] {
            cases.push(split(n, lengths.iter().map(|l| json!(l)).collect()));
        }
    }
    cases
}

fn split(n: usize, lengths: Vec<Value>) -> Case {
    Case {
        seed: 2,
        generator: lengths.len().is_multiple_of(2).then_some(4),
        sampler: "split",
        n,
        lengths,
        ..Case::default()
    }
}

fn loader(case: &Case, generator: Option<&Generator>) -> Result<DataLoader, DataError> {
    let handle = || generator.map(|g| g.try_clone().unwrap());
    let n = 10 * case.n + 1000;
    let mut loader = match case.sampler {
        "" => DataLoader::new(case.n),
        "random" => {
            let mut sampler = RandomSampler::new(case.n.max(1))?
                .replacement(case.replacement)
                .num_samples(case.num_samples)?;
            if let Some(generator) = handle() {
                sampler = sampler.generator(generator);
            }
            DataLoader::with_sampler(n, sampler)
        }
        "subset" => {
            let indices: Vec<usize> = (0..case.num_samples).map(|i| 3 * i).collect();
            let mut sampler = SubsetRandomSampler::new(indices);
            if let Some(generator) = handle() {
                sampler = sampler.generator(generator);
            }
            DataLoader::with_sampler(n, sampler)
        }
        "weighted" => {
            let mut sampler =
                WeightedRandomSampler::new(&case.weights, case.num_samples, case.replacement)?;
            if let Some(generator) = handle() {
                sampler = sampler.generator(generator);
            }
            DataLoader::with_sampler(n, sampler)
        }
        "distributed" => {
            let mut sampler = DistributedSampler::new(case.n, case.replicas, case.rank)?
                .shuffle(case.shuffled)
                .seed(case.sampler_seed)
                .drop_last(case.drop_last_replicas);
            sampler.set_epoch(case.epoch);
            DataLoader::with_sampler(n, sampler)
        }
        other => panic!("{other}"),
    };
    if case.loader_generator {
        loader = loader.generator(handle().unwrap());
    }
    Ok(loader
        .batch_size(case.batch_size)
        .drop_last(case.drop_last)
        .shuffle(case.shuffle))
}

fn run(case: &Case, generator: Option<&mut Generator>) -> Result<Value, DataError> {
    if case.sampler == "split" {
        let integers: Option<Vec<usize>> = case
            .lengths
            .iter()
            .map(|length| length.as_u64().map(|length| length as usize))
            .collect();
        let parts = match integers {
            Some(lengths) => random_split(case.n, &lengths, generator)?,
            None => {
                let fractions: Vec<f64> =
                    case.lengths.iter().map(|l| l.as_f64().unwrap()).collect();
                random_split_fractions(case.n, &fractions, generator)?
            }
        };
        return Ok(json!(parts));
    }
    let loader = loader(case, generator.as_deref())?;
    let mut epochs = vec![json!(loader.len())];
    for _ in 0..case.epochs {
        let batches = loader.batches()?;
        epochs.push(json!(batches.base_seed()));
        for (i, batch) in batches.enumerate() {
            epochs.push(json!(batch?));
            if case.draw_between {
                drop(Tensor::rand([1], FLOAT_CPU));
                if let Some(generator) = &generator {
                    let mut handle = generator.try_clone().unwrap();
                    drop(handle.scope(|| Tensor::rand([1], FLOAT_CPU)).unwrap());
                }
            }
            if i + 1 == case.stop {
                break;
            }
        }
    }
    Ok(json!(epochs))
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn the_order_of_data_is_that_of_pytorch() {
    let mut cases = cases();
    // `RandomSampler::new` has another error for an empty dataset.
    cases.retain(|case| case.sampler != "random" || case.n > 0);
    let (results, states) = run_reference("tests/python/data_order.py", &json!(cases));
    let _stream = default_stream();
    let mut states = states.chunks(STATE_LEN);
    let mut has_failed = 0;
    for (case, expected) in cases.iter().zip(results.as_array().unwrap()) {
        manual_seed(i64::from(case.seed)).unwrap();
        let mut generator = case.generator.map(|seed| {
            let mut generator = Generator::new(Device::Cpu).unwrap();
            generator.manual_seed(i64::from(seed)).unwrap();
            generator
        });
        match run(case, generator.as_mut()) {
            Ok(batches) => assert_eq!(&batches, expected, "{case:?}"),
            Err(error) => {
                assert!(expected.is_string(), "{error} of {case:?}: {expected}");
                has_failed += 1;
            }
        }
        let (default, explicit) = (states.next().unwrap(), states.next().unwrap());
        assert!(get_rng_state().unwrap() == default, "{case:?}");
        if let Some(generator) = generator {
            assert!(generator.get_state().unwrap() == explicit, "{case:?}");
        }
    }
    assert!(states.next().is_none());
    assert!((100..400).contains(&has_failed), "{has_failed} errors");
}

#[test]
fn batches_of_tensors_have_the_samples_of_the_indices() {
    let _stream = default_stream();
    let x = Tensor::arange(12, FLOAT_CPU).reshape([6, 2]);
    let y = Tensor::arange(6, FLOAT_CPU);
    let loader = DataLoader::new(6).batch_size(4).shuffle(true);
    manual_seed(8).unwrap();
    let indices: Vec<Vec<usize>> = loader.batches().unwrap().map(Result::unwrap).collect();
    manual_seed(8).unwrap();
    let tensors = loader.tensors([&x, &y]).unwrap().map(Result::unwrap);
    let mut batches = 0;
    for ([x, y], indices) in tensors.zip(&indices) {
        batches += 1;
        assert_eq!(x.size(), [indices.len() as i64, 2]);
        let indices: Vec<f64> = indices.iter().map(|i| *i as f64).collect();
        assert_eq!(Vec::<f64>::try_from(&y).unwrap(), indices);
        let halves = x.select(1, 0) / 2.0;
        assert_eq!(Vec::<f64>::try_from(&halves).unwrap(), indices);
    }
    assert_eq!(batches, 2);
}

#[test]
fn what_has_no_order_is_an_error() {
    let messages = [
        DataLoader::new(3).batch_size(0).batches().map(drop),
        DataLoader::new(0).shuffle(true).batches().map(drop),
        DataLoader::with_sampler(3, SubsetRandomSampler::new([1]))
            .shuffle(true)
            .batches()
            .map(drop),
        DataLoader::new(3)
            .tensors([&Tensor::zeros([4, 3], FLOAT_CPU)])
            .map(drop),
        DistributedSampler::new(3, 2, 2).map(drop),
        random_split(10, &[3, 4], None).map(drop),
        random_split_fractions(10, &[0.3, 0.4], None).map(drop),
        random_split_fractions(10, &[1.5, -0.5], None).map(drop),
    ]
    .map(|result| result.unwrap_err().to_string());
    assert_eq!(
        messages,
        [
            "DataLoader: batch_size = 0: must be positive",
            "RandomSampler: num_samples = 0: must be positive",
            "DataLoader: a sampler decides the order, so shuffle(true) has no meaning; leave out one of the two",
            "DataLoader: tensor 0 has shape [4, 3], but the loader has 3 samples, which is the size that its dimension 0 must have",
            "DistributedSampler: rank = 2: must be below num_replicas",
            "random_split: the lengths add up to 7, the dataset has 10 samples",
            "random_split: the lengths add up to 0.7, the dataset has 10 samples",
            "random_split: fraction = 1.5: must be between 0 and 1",
        ]
    );
}
