//! Recurrent layers and cells.

use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::Tensor;
use tch_init::InitError;
use tch_init::nn::{self, LSTMState, LayerKind, RNN, RNNCellConfig, RNNConfig, RnnNonlinearity};

const OF_RNN: &str = "list(m(x[0]))";
const OF_RNN_WITH_STATE: &str = "list(m(x[0], x[1]))";
const OF_LSTM: &str = "(lambda output, state: [output, *state])(*m(x[0]))";
const OF_LSTM_WITH_STATE: &str = "(lambda output, state: [output, *state])(*m(x[0], (x[1], x[2])))";

/// tch's layers with a batch in the first dimension, and `None` for their state.
macro_rules! seq {
    ($layer:expr, |$state:ident| $states:expr) => {{
        let layer = $layer;
        Ok(Box::new(move |x: &[Tensor]| {
            let (output, $state) = layer.seq(&x[0]);
            let mut all = vec![output];
            all.extend($states);
            all
        }) as Forward)
    }};
}

pub fn config(change: impl FnOnce(&mut RNNConfig)) -> RNNConfig {
    let mut config = RNNConfig::default();
    change(&mut config);
    config
}

fn lstm_state(state: LSTMState) -> [Tensor; 2] {
    [state.h(), state.c()]
}

fn twin(
    python: &'static str,
    kind: LayerKind,
    forward: &'static str,
    inputs: &[&'static [i64]],
    make: fn(nn::Path<'_>) -> Result<Forward, InitError>,
) -> Twin {
    Twin {
        python,
        forward,
        inputs: inputs.iter().map(|shape| Input::Randn(shape)).collect(),
        kind,
        make,
        tolerance: 0.0,
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn lstm_is_pytorchs() {
    let kind = LayerKind::LSTM;
    assert_twins(&[
        twin(
            "nn.LSTM(3, 5, batch_first=True)",
            kind,
            OF_LSTM,
            &[&[4, 7, 3]],
            |vs| {
                seq!(nn::f_lstm(vs, 3, 5, Default::default())?, |state| {
                    lstm_state(state)
                })
            },
        ),
        twin(
            "nn.LSTM(10, 20, num_layers=2, batch_first=True, bidirectional=True)",
            kind,
            OF_LSTM,
            &[&[2, 5, 10]],
            |vs| {
                let config = config(|c| (c.num_layers, c.bidirectional) = (2, true));
                seq!(nn::f_lstm(vs, 10, 20, config)?, |state| lstm_state(state))
            },
        ),
        // The dropout draws while it computes, from the same place of the stream.
        twin(
            "nn.LSTM(4, 6, num_layers=3, bias=False, batch_first=True, dropout=0.25)",
            kind,
            OF_LSTM,
            &[&[2, 5, 4]],
            |vs| {
                let config = config(|c| {
                    (c.num_layers, c.has_biases, c.dropout) = (3, false, 0.25);
                });
                seq!(nn::f_lstm(vs, 4, 6, config)?, |state| lstm_state(state))
            },
        ),
        twin(
            "nn.LSTM(4, 6)",
            kind,
            OF_LSTM_WITH_STATE,
            &[&[5, 2, 4], &[1, 2, 6], &[1, 2, 6]],
            |vs| {
                let lstm = nn::f_lstm(vs, 4, 6, config(|c| c.batch_first = false))?;
                Ok(Box::new(move |x| {
                    let state = LSTMState((x[1].shallow_clone(), x[2].shallow_clone()));
                    let (output, state) = lstm.seq_init(&x[0], &state);
                    vec![output, state.h(), state.c()]
                }))
            },
        ),
        twin(
            "nn.LSTM(1, 1, dropout=1, batch_first=True)",
            kind,
            OF_LSTM,
            &[&[2, 5, 1]],
            |vs| {
                let config = config(|c| c.dropout = 1.0);
                seq!(nn::f_lstm(vs, 1, 1, config)?, |state| lstm_state(state))
            },
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn lstm_with_a_projection_is_pytorchs() {
    let kind = LayerKind::LSTM;
    assert_twins(&[
        twin(
            "nn.LSTM(3, 5, proj_size=2, batch_first=True)",
            kind,
            OF_LSTM,
            &[&[4, 7, 3]],
            |vs| {
                let lstm = nn::projected_lstm(vs, 3, 5, 2, Default::default())?;
                seq!(lstm, |state| lstm_state(state))
            },
        ),
        twin(
            "nn.LSTM(4, 9, num_layers=2, dropout=0.5, bidirectional=True, proj_size=3)",
            kind,
            OF_LSTM_WITH_STATE,
            &[&[5, 2, 4], &[4, 2, 3], &[4, 2, 9]],
            |vs| {
                let config = config(|c| {
                    (c.num_layers, c.bidirectional) = (2, true);
                    (c.dropout, c.batch_first) = (0.5, false);
                });
                let lstm = nn::projected_lstm(vs, 4, 9, 3, config)?;
                Ok(Box::new(move |x| {
                    let state = LSTMState((x[1].shallow_clone(), x[2].shallow_clone()));
                    let (output, state) = lstm.seq_init(&x[0], &state);
                    vec![output, state.h(), state.c()]
                }))
            },
        ),
        // Without a batch, in either layout.
        twin(
            "nn.LSTM(4, 6, bias=False, proj_size=5, num_layers=2)",
            kind,
            OF_LSTM,
            &[&[5, 4]],
            |vs| {
                let config = config(|c| {
                    (c.num_layers, c.has_biases, c.batch_first) = (2, false, false);
                });
                let lstm = nn::projected_lstm(vs, 4, 6, 5, config)?;
                seq!(lstm, |state| lstm_state(state))
            },
        ),
        twin(
            "nn.LSTM(4, 6, batch_first=True)",
            kind,
            OF_LSTM_WITH_STATE,
            &[&[5, 4], &[1, 6], &[1, 6]],
            |vs| {
                let lstm = nn::projected_lstm(vs, 4, 6, 0, Default::default())?;
                Ok(Box::new(move |x| {
                    let state = LSTMState((x[1].shallow_clone(), x[2].shallow_clone()));
                    let (output, state) = lstm.forward(&x[0], Some(&state)).unwrap();
                    vec![output, state.h(), state.c()]
                }))
            },
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn gru_is_pytorchs() {
    let kind = LayerKind::GRU;
    assert_twins(&[
        twin(
            "nn.GRU(3, 5, batch_first=True)",
            kind,
            OF_RNN,
            &[&[4, 7, 3]],
            |vs| {
                seq!(nn::f_gru(vs, 3, 5, Default::default())?, |state| [
                    state.value()
                ])
            },
        ),
        twin(
            "nn.GRU(10, 20, num_layers=2, bias=False, batch_first=True, bidirectional=True)",
            kind,
            OF_RNN,
            &[&[2, 5, 10]],
            |vs| {
                let config = config(|c| {
                    (c.num_layers, c.has_biases, c.bidirectional) = (2, false, true);
                });
                seq!(nn::f_gru(vs, 10, 20, config)?, |state| [state.value()])
            },
        ),
        twin(
            "nn.GRU(4, 6, num_layers=2, dropout=0.1)",
            kind,
            OF_RNN,
            &[&[5, 2, 4]],
            |vs| {
                let config = config(|c| {
                    (c.num_layers, c.dropout, c.batch_first) = (2, 0.1, false);
                });
                let gru = nn::f_gru(vs, 4, 6, config)?;
                Ok(Box::new(move |x| {
                    let state = gru.zero_state(x[0].size()[1]);
                    let (output, state) = gru.seq_init(&x[0], &state);
                    vec![output, state.value()]
                }))
            },
        ),
    ]);
}

/// `train` is an argument, as the mode of Python's module is `train()` or `eval()`, call by call.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn dropout_follows_train() {
    use tch_init::nn::RNNT;
    const MODES: &str = "[m.train()(x[0])[0], m.eval()(x[0])[0], m.train()(x[0])[0]]";
    const STATES: &str = "[m.eval()(x[0], x[1])[1], m.train()(x[0], x[1])[1]]";
    const STEPS: &str =
        "[m.eval()(x[0].unsqueeze(1), x[1])[1], m.train()(x[0].unsqueeze(1), x[1])[1]]";
    macro_rules! modes {
        ($layer:expr) => {{
            let layer = $layer;
            Ok(Box::new(move |x: &[Tensor]| {
                [true, false, true]
                    .map(|train| layer.seq_t(&x[0], train).0)
                    .into()
            }) as Forward)
        }};
    }
    assert_twins(&[
        twin(
            "nn.LSTM(3, 5, 3, dropout=0.5, batch_first=True)",
            LayerKind::LSTM,
            MODES,
            &[&[4, 7, 3]],
            |vs| {
                let stacked = config(|c| (c.num_layers, c.dropout) = (3, 0.5));
                modes!(nn::f_lstm(vs, 3, 5, stacked)?)
            },
        ),
        twin(
            "nn.GRU(3, 5, 3, dropout=0.5, batch_first=True)",
            LayerKind::GRU,
            MODES,
            &[&[4, 7, 3]],
            |vs| {
                let stacked = config(|c| (c.num_layers, c.dropout) = (3, 0.5));
                modes!(nn::f_gru(vs, 3, 5, stacked)?)
            },
        ),
        twin(
            "nn.RNN(3, 5, 3, dropout=0.5, batch_first=True)",
            LayerKind::RNN,
            MODES,
            &[&[4, 7, 3]],
            |vs| {
                let stacked = config(|c| (c.num_layers, c.dropout) = (3, 0.5));
                modes!(nn::rnn(vs, 3, 5, RnnNonlinearity::Tanh, stacked)?)
            },
        ),
        // `config.train` may be changed too, as `eval()` changes a module.
        twin(
            "nn.LSTM(3, 5, 2, dropout=0.9, batch_first=True)",
            LayerKind::LSTM,
            "[m.eval()(x[0])[0], m.train()(x[0])[0]]",
            &[&[4, 7, 3]],
            |vs| {
                let mut lstm = nn::f_lstm(
                    vs,
                    3,
                    5,
                    config(|c| {
                        (c.num_layers, c.dropout) = (2, 0.9);
                    }),
                )?;
                lstm.config.train = false;
                let lstm = std::sync::Mutex::new(lstm);
                Ok(Box::new(move |x| {
                    let mut lstm = lstm.lock().unwrap();
                    let evaluated = lstm.seq(&x[0]).0;
                    lstm.config.train = true;
                    let trained = lstm.seq(&x[0]).0;
                    lstm.config.train = false;
                    vec![evaluated, trained]
                }))
            },
        ),
        twin(
            "nn.GRU(3, 5, 2, dropout=0.3, batch_first=True)",
            LayerKind::GRU,
            STATES,
            &[&[4, 7, 3], &[2, 4, 5]],
            |vs| {
                let gru = nn::f_gru(
                    vs,
                    3,
                    5,
                    config(|c| {
                        (c.num_layers, c.dropout) = (2, 0.3);
                    }),
                )?;
                Ok(Box::new(move |x| {
                    let state = nn::GRUState(x[1].shallow_clone());
                    [false, true]
                        .map(|train| gru.seq_init_t(&x[0], &state, train).1.0)
                        .into()
                }))
            },
        ),
        twin(
            "nn.GRU(3, 5, 2, dropout=0.3, batch_first=True)",
            LayerKind::GRU,
            STEPS,
            &[&[4, 3], &[2, 4, 5]],
            |vs| {
                let gru = nn::f_gru(
                    vs,
                    3,
                    5,
                    config(|c| {
                        (c.num_layers, c.dropout) = (2, 0.3);
                    }),
                )?;
                Ok(Box::new(move |x| {
                    let state = nn::GRUState(x[1].shallow_clone());
                    [false, true]
                        .map(|train| gru.step_t(&x[0], &state, train).0)
                        .into()
                }))
            },
        ),
        // Without a batch, in a sequence first.
        twin("nn.GRU(4, 6)", LayerKind::GRU, OF_RNN, &[&[5, 4]], |vs| {
            let gru = nn::f_gru(vs, 4, 6, config(|c| c.batch_first = false))?;
            seq!(gru, |state| [state.value()])
        }),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn rnn_is_pytorchs() {
    let kind = LayerKind::RNN;
    assert_twins(&[
        twin(
            "nn.RNN(3, 5, batch_first=True)",
            kind,
            OF_RNN,
            &[&[4, 7, 3]],
            |vs| {
                let rnn = nn::rnn(vs, 3, 5, RnnNonlinearity::Tanh, Default::default())?;
                seq!(rnn, |state| [state])
            },
        ),
        twin(
            "nn.RNN(4, 6, 2, 'relu', bidirectional=True, dropout=0.5)",
            kind,
            OF_RNN_WITH_STATE,
            &[&[5, 2, 4], &[4, 2, 6]],
            |vs| {
                let config = config(|c| {
                    (c.num_layers, c.bidirectional) = (2, true);
                    (c.dropout, c.batch_first) = (0.5, false);
                });
                let rnn = nn::rnn(vs, 4, 6, RnnNonlinearity::Relu, config)?;
                Ok(Box::new(move |x| {
                    let (output, state) = rnn.seq_init(&x[0], &x[1]);
                    vec![output, state]
                }))
            },
        ),
        twin(
            "nn.RNN(4, 6, bias=False, batch_first=True)",
            kind,
            OF_RNN_WITH_STATE,
            &[&[5, 4], &[1, 6]],
            |vs| {
                let config = config(|c| c.has_biases = false);
                let rnn = nn::rnn(vs, 4, 6, RnnNonlinearity::Tanh, config)?;
                Ok(Box::new(move |x| {
                    let (output, state) = rnn.forward(&x[0], Some(&x[1])).unwrap();
                    vec![output, state]
                }))
            },
        ),
        // One step is a sequence of one.
        twin(
            "nn.RNN(4, 6)",
            kind,
            "[m(x[0].unsqueeze(0), x[1])[1]]",
            &[&[2, 4], &[1, 2, 6]],
            |vs| {
                let config = config(|c| c.batch_first = false);
                let rnn = nn::rnn(vs, 4, 6, RnnNonlinearity::Tanh, config)?;
                Ok(Box::new(move |x| vec![rnn.step(&x[0], &x[1])]))
            },
        ),
    ]);
}

fn without_bias() -> RNNCellConfig {
    RNNCellConfig::default().bias(false)
}

/// `[m(x[0])]` or `[m(x[0], x[1])]`.
macro_rules! cell {
    ($cell:expr) => {{
        let cell = $cell;
        Ok(Box::new(move |x: &[Tensor]| vec![cell.forward(&x[0], x.get(1)).unwrap()]) as Forward)
    }};
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn cells_are_pytorchs() {
    use LayerKind::{GRUCell, LSTMCell, RNNCell};
    use RnnNonlinearity::{Relu, Tanh};
    const PLAIN: &str = "[m(*x)]";
    assert_twins(&[
        twin("nn.RNNCell(3, 5)", RNNCell, PLAIN, &[&[4, 3]], |vs| {
            cell!(nn::rnn_cell(vs, 3, 5, Tanh, Default::default())?)
        }),
        twin(
            "nn.RNNCell(33, 20, bias=False, nonlinearity='relu')",
            RNNCell,
            PLAIN,
            &[&[4, 33], &[4, 20]],
            |vs| cell!(nn::rnn_cell(vs, 33, 20, Relu, without_bias())?),
        ),
        twin(
            "nn.RNNCell(3, 5, nonlinearity='relu')",
            RNNCell,
            PLAIN,
            &[&[3], &[5]],
            |vs| cell!(nn::rnn_cell(vs, 3, 5, Relu, Default::default())?),
        ),
        twin("nn.GRUCell(3, 5)", GRUCell, PLAIN, &[&[4, 3]], |vs| {
            cell!(nn::gru_cell(vs, 3, 5, Default::default())?)
        }),
        twin(
            "nn.GRUCell(33, 20, bias=False)",
            GRUCell,
            PLAIN,
            &[&[4, 33], &[4, 20]],
            |vs| cell!(nn::gru_cell(vs, 33, 20, without_bias())?),
        ),
        twin("nn.GRUCell(3, 5)", GRUCell, PLAIN, &[&[3], &[5]], |vs| {
            cell!(nn::gru_cell(vs, 3, 5, Default::default())?)
        }),
        twin(
            "nn.LSTMCell(3, 5)",
            LSTMCell,
            "list(m(x[0]))",
            &[&[4, 3]],
            |vs| {
                let cell = nn::lstm_cell(vs, 3, 5, Default::default())?;
                Ok(Box::new(move |x| {
                    <[_; 2]>::from(cell.forward(&x[0], None).unwrap()).into()
                }))
            },
        ),
        twin(
            "nn.LSTMCell(33, 20, bias=False)",
            LSTMCell,
            "list(m(x[0], (x[1], x[2])))",
            &[&[4, 33], &[4, 20], &[4, 20]],
            |vs| {
                let cell = nn::lstm_cell(vs, 33, 20, without_bias())?;
                Ok(Box::new(move |x| {
                    <[_; 2]>::from(cell.forward(&x[0], Some((&x[1], &x[2]))).unwrap()).into()
                }))
            },
        ),
        twin(
            "nn.LSTMCell(3, 5)",
            LSTMCell,
            "list(m(x[0], (x[1], x[2])))",
            &[&[3], &[5], &[5]],
            |vs| {
                let cell = nn::lstm_cell(vs, 3, 5, Default::default())?;
                Ok(Box::new(move |x| {
                    <[_; 2]>::from(cell.forward(&x[0], Some((&x[1], &x[2]))).unwrap()).into()
                }))
            },
        ),
        // Python's bound is the integer 0 here, and only the input's weight has a size.
        twin(
            "nn.GRUCell(3, 0)",
            GRUCell,
            PLAIN,
            &[&[4, 3], &[4, 0]],
            |vs| cell!(nn::gru_cell(vs, 3, 0, Default::default())?),
        ),
    ]);
}
