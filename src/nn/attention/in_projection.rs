//! The projections of query, key and value.

use super::MultiheadAttention;
use tch::{TchError, Tensor};

/// `_in_projection_packed` and `_in_projection` of
/// `torch/nn/functional.py`, PyTorch 2.13. A tensor that is passed twice is projected in one product, which rounds differently.
pub(super) fn in_projection(
    attention: &MultiheadAttention,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    (one_key_value, one_query_key): (bool, bool),
) -> Result<[Tensor; 3], TchError> {
    let width = attention.embed_dim;
    let bias = attention.in_proj_bias.as_ref();
    let Some(packed) = &attention.in_proj_weight else {
        let separate = [
            &attention.q_proj_weight,
            &attention.k_proj_weight,
            &attention.v_proj_weight,
        ];
        let [Some(w_q), Some(w_k), Some(w_v)] = separate else {
            return Err(TchError::Torch("a projection has no weight".to_owned()));
        };
        let [b_q, b_k, b_v] = split(bias, [width; 3])?;
        return Ok([
            query.f_linear(w_q, b_q)?,
            key.f_linear(w_k, b_k)?,
            value.f_linear(w_v, b_v)?,
        ]);
    };
    if !one_key_value {
        let weights = split(Some(packed), [width; 3])?;
        let biases = split(bias, [width; 3])?;
        let ([Some(w_q), Some(w_k), Some(w_v)], [b_q, b_k, b_v]) = (weights, biases) else {
            return Err(TchError::Torch("a projection has no weight".to_owned()));
        };
        return Ok([
            query.f_linear(&w_q, b_q)?,
            key.f_linear(&w_k, b_k)?,
            value.f_linear(&w_v, b_v)?,
        ]);
    }
    if one_query_key {
        let all = unpack(&query.f_linear(packed, bias)?, 3, width)?;
        return Ok([all.f_get(0)?, all.f_get(1)?, all.f_get(2)?]);
    }
    let [w_q, w_kv] = split(Some(packed), [width, 2 * width])?;
    let [b_q, b_kv] = split(bias, [width, 2 * width])?;
    let (Some(w_q), Some(w_kv)) = (w_q, w_kv) else {
        return Err(TchError::Torch("a projection has no weight".to_owned()));
    };
    let q = query.f_linear(&w_q, b_q)?;
    let both = unpack(&key.f_linear(&w_kv, b_kv)?, 2, width)?;
    Ok([q, both.f_get(0)?, both.f_get(1)?])
}

fn split<const N: usize>(
    tensor: Option<&Tensor>,
    sizes: [i64; N],
) -> Result<[Option<Tensor>; N], TchError> {
    let mut parts = match tensor {
        Some(tensor) => tensor.f_split_with_sizes(sizes, 0)?.into_iter(),
        None => Vec::new().into_iter(),
    };
    Ok(std::array::from_fn(|_| parts.next()))
}

/// `[.., parts * width]` as `[parts, .., width]`, in memory too.
fn unpack(packed: &Tensor, parts: i64, width: i64) -> Result<Tensor, TchError> {
    packed
        .f_unflatten(-1, [parts, width])?
        .f_unsqueeze(0)?
        .f_transpose(0, -2)?
        .f_squeeze_dim(-2)?
        .f_contiguous()
}
