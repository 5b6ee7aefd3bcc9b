//! Recurrent layers and cells: the initializers that are set, tch's own layers, what is rejected.

use crate::common::{bytes, default_stream};
use crate::live::recurrent::config;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::nn::{self, Init, LSTMState, RNN, RNNCellConfig, RNNConfig, RnnNonlinearity};
use tch_init::{InitError, Walk, manual_seed};

fn values(vs: &VarStore) -> Vec<Vec<u8>> {
    vs.trainable_variables().iter().map(bytes).collect()
}

#[test]
fn layers_of_tch_are_reset_as_ours_start() {
    let _stream = default_stream();
    let ours = VarStore::new(Device::Cpu);
    let theirs = VarStore::new(Device::Cpu);
    let two_ways = config(|c| (c.num_layers, c.bidirectional) = (2, true));
    let of_tch = tch::nn::RNNConfig {
        num_layers: 2,
        bidirectional: true,
        ..Default::default()
    };
    tch::nn::lstm(theirs.root() / "a", 3, 5, of_tch);
    tch::nn::gru(theirs.root() / "b", 3, 6, of_tch);
    manual_seed(5).unwrap();
    nn::lstm(ours.root() / "a", 3, 5, two_ways);
    nn::gru(ours.root() / "b", 3, 6, two_ways);
    manual_seed(5).unwrap();
    Walk::new().reset_parameters(&theirs).unwrap();
    assert_eq!(values(&ours), values(&theirs));
}

#[test]
fn an_initializer_that_is_set_wins_in_all_layers_and_alone_draws() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    manual_seed(5).unwrap();
    let config = config(|c| {
        (c.num_layers, c.bidirectional) = (2, true);
        (c.w_ih_init, c.b_hh_init) = (Init::Const(2.0), Some(Init::Const(3.0)));
    });
    nn::f_gru(vs.root(), 3, 4, config).unwrap();
    let variables = vs.variables();
    manual_seed(5).unwrap();
    for place in ["l0", "l0_reverse", "l1", "l1_reverse"] {
        let all = |name: &str, value: f64| {
            let tensor = &variables[&format!("{name}_{place}")];
            assert_eq!(tensor, &(tensor.ones_like() * value), "{name}_{place}");
        };
        all("weight_ih", 2.0);
        all("bias_hh", 3.0);
        for name in ["weight_hh", "bias_ih"] {
            let tensor = &variables[&format!("{name}_{place}")];
            let drawn = Tensor::zeros_like(tensor).uniform_(-0.5, 0.5);
            assert_eq!(bytes(tensor), bytes(&drawn), "{name}_{place}");
        }
    }
    let vs = VarStore::new(Device::Cpu);
    let config = RNNCellConfig::default()
        .w_hh_init(Init::Const(2.0))
        .b_ih_init(Some(Init::Const(3.0)));
    let cell = nn::lstm_cell(vs.root(), 3, 4, config).unwrap();
    assert_eq!(cell.w_hh.min().double_value(&[]), 2.0);
    assert_eq!(cell.b_ih.unwrap().max().double_value(&[]), 3.0);
    assert!(cell.w_ih.abs().max().double_value(&[]) <= 0.5);
}

#[test]
fn the_layers_tensors_are_the_var_stores() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let lstm = nn::lstm(vs.root(), 3, 4, Default::default());
    let input = Tensor::ones([1, 2, 3], (Kind::Float, Device::Cpu));
    let (output, _) = lstm.seq(&input);
    output.sum(None::<Kind>).backward();
    for (name, tensor) in vs.variables() {
        assert!(tensor.requires_grad() && tensor.grad().defined(), "{name}");
    }
    tch::no_grad(|| {
        for mut tensor in vs.trainable_variables() {
            let _ = tensor.zero_();
        }
    });
    assert_eq!(lstm.seq(&input).0, output.zeros_like());
}

#[test]
fn what_pytorch_refuses_is_an_error() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let messages = |input, hidden, c: RNNConfig| {
        [
            nn::projected_lstm(vs.root(), input, hidden, 0, c).map(drop),
            nn::f_lstm(vs.root(), input, hidden, c).map(drop),
            nn::f_gru(vs.root(), input, hidden, c).map(drop),
            nn::rnn(vs.root(), input, hidden, RnnNonlinearity::Tanh, c).map(drop),
        ]
        .map(|made| made.unwrap_err().to_string())
    };
    let c = RNNConfig::default();
    let positive = "must be greater than zero";
    for (input, hidden, layers, argument) in [
        (0, 5, 1, "input_size = 0"),
        (3, -5, 1, "hidden_size = -5"),
        (3, 5, 0, "num_layers = 0"),
    ] {
        let c = config(|c| c.num_layers = layers);
        let kinds = ["LSTM", "LSTM", "GRU", "RNN"];
        let expected = kinds.map(|kind| format!("{kind}: {argument}: {positive}"));
        assert_eq!(messages(input, hidden, c), expected);
    }
    for dropout in [-0.1, 1.5, f64::NAN] {
        let messages = messages(3, 5, config(|c| c.dropout = dropout));
        let expected = format!("GRU: dropout = {dropout}: must be a probability, from 0 to 1");
        assert_eq!(messages[2], expected);
    }
    for proj_size in [-1, 5, 9] {
        let error = nn::projected_lstm(vs.root(), 3, 5, proj_size, c).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "LSTM: proj_size = {proj_size}: must be at least 0 and smaller than hidden_size"
            )
        );
    }
    for too_large in [i64::MAX / 2, 1 << 45] {
        let messages = messages(3, too_large, c);
        assert!(
            messages.iter().all(|m| m.contains("libtorch")),
            "{messages:?}"
        );
    }
    let config = RNNCellConfig::default();
    let error = nn::gru_cell(vs.root(), 3, -1, config).unwrap_err();
    assert!(matches!(error, InitError::Libtorch { .. }), "{error}");
    let mut of_integers = VarStore::new(Device::Cpu);
    of_integers.set_kind(Kind::Int64);
    let error = nn::f_lstm(of_integers.root(), 3, 4, c).unwrap_err();
    assert!(matches!(error, InitError::Libtorch { .. }), "{error}");
    assert!(vs.is_empty() && of_integers.is_empty());
}

#[test]
fn inputs_that_do_not_fit_are_errors() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let rnn = nn::rnn(
        vs.root() / "a",
        3,
        5,
        RnnNonlinearity::Tanh,
        Default::default(),
    )
    .unwrap();
    let of_rnn = |input: &[i64], hx: Option<&[i64]>| {
        let hx = hx.map(zeros);
        let error = rnn.forward(&zeros(input), hx.as_ref()).unwrap_err();
        error.to_string()
    };
    assert_eq!(
        of_rnn(&[3], None),
        "RNN: only tensors with 2 or 3 dimensions are supported, got shape [3]"
    );
    assert_eq!(
        of_rnn(&[2, 7, 4], None),
        "RNN: the last dimension of the input must be input_size = 3, got shape [2, 7, 4]"
    );
    assert_eq!(
        of_rnn(&[2, 7, 3], Some(&[1, 1, 5])),
        "RNN: hx must have shape [1, 2, 5], got shape [1, 1, 5]"
    );
    assert_eq!(
        of_rnn(&[7, 3], Some(&[1, 1, 5])),
        "RNN: hx must have shape [1, 5], got shape [1, 1, 5]"
    );
    let doubles = zeros(&[2, 7, 3]).to_kind(Kind::Double);
    assert!(rnn.forward(&doubles, None).is_err());

    let lstm = nn::projected_lstm(vs.root() / "b", 3, 5, 2, Default::default()).unwrap();
    let state = LSTMState((zeros(&[1, 2, 2]), zeros(&[1, 2, 2])));
    let error = lstm.forward(&zeros(&[2, 7, 3]), Some(&state)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "LSTM: c must have shape [1, 2, 5], got shape [1, 2, 2]"
    );
    let state = lstm.zero_state(2);
    assert_eq!(
        (state.h().size(), state.c().size()),
        (vec![1, 2, 2], vec![1, 2, 5])
    );
    assert_eq!(lstm.step(&zeros(&[2, 3]), &state).h().size(), [1, 2, 2]);

    let cell = nn::lstm_cell(vs.root() / "c", 3, 5, Default::default()).unwrap();
    let error = cell.forward(&zeros(&[1, 2, 3]), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "LSTMCell: only tensors with 1 or 2 dimensions are supported, got shape [1, 2, 3]"
    );
    let (fits, does_not) = (zeros(&[2, 5]), zeros(&[2, 4]));
    let error = cell
        .forward(&zeros(&[2, 3]), Some((&fits, &does_not)))
        .unwrap_err();
    assert!(matches!(error, InitError::Libtorch { .. }), "{error}");
    let error = cell
        .forward(&zeros(&[2, 3]), Some((&zeros(&[]), &fits)))
        .unwrap_err();
    assert!(matches!(error, InitError::Dimensions { .. }), "{error}");
}
