//! The forward pass of an attention.

use super::in_projection::in_projection;
use super::{AttentionOptions, KIND, MultiheadAttention, mask};
use crate::error::{Context, InitError};
use crate::nn::registry;
use crate::nn::spec::refused;
use tch::{Device, TchError, Tensor};

const NAME: &str = "MultiheadAttention";

/// The inputs and masks of one pass, masks as values to add.
struct Pass<'a> {
    query: &'a Tensor,
    key: &'a Tensor,
    value: &'a Tensor,
    key_padding_mask: Option<Tensor>,
    attn_mask: Option<Tensor>,
    need_weights: bool,
    average_attn_weights: bool,
    is_causal: bool,
    is_batched: bool,
    /// Whether key and value are one tensor, and whether the query is too.
    one_key_value: bool,
    one_query_key: bool,
}

impl MultiheadAttention {
    /// The output, `[L, N, embed_dim]`, and the weights, `[N, L, S]` (`[N, num_heads, L, S]` if
    /// they are not averaged), of a query `[L, N, embed_dim]`, a key `[S, N, kdim]` and a value
    /// `[S, N, vdim]`. `N` comes first with `batch_first`, and may be left out everywhere.
    ///
    /// Follows `torch.nn.functional.multi_head_attention_forward`, and its bits: so it matters,
    /// as in PyTorch, whether query, key and value are one and the same tensor. With `train` it
    /// draws the dropout from the default stream. Without, where nothing asks for gradients,
    /// PyTorch's fused kernel runs under PyTorch's conditions, except that autocasting is not
    /// checked.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for shapes and masks that PyTorch rejects, [`InitError::Libtorch`]
    /// where libtorch does.
    pub fn forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttentionOptions<'_>,
        train: bool,
    ) -> Result<(Tensor, Option<Tensor>), InitError> {
        forward(self, query, key, value, options, train)
    }
}

/// `MultiheadAttention.forward`, `torch/nn/modules/activation.py`, PyTorch 2.13.
fn forward(
    attention: &MultiheadAttention,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    options: AttentionOptions<'_>,
    train: bool,
) -> Result<(Tensor, Option<Tensor>), InitError> {
    let target = query.f_kind().context(NAME, query)?;
    let pass = Pass {
        query,
        key,
        value,
        key_padding_mask: mask::additive(
            NAME,
            "key_padding_mask",
            options.key_padding_mask,
            target,
        )?,
        attn_mask: mask::additive(NAME, "attn_mask", options.attn_mask, target)?,
        need_weights: options.need_weights,
        average_attn_weights: options.average_attn_weights,
        is_causal: options.is_causal,
        is_batched: query.dim() == 3,
        one_key_value: registry::identity(key) == registry::identity(value),
        one_query_key: registry::identity(query) == registry::identity(key),
    };
    check(attention, &pass)?;
    let masks = [options.attn_mask, options.key_padding_mask];
    let boolean_masks = masks
        .iter()
        .flatten()
        .all(|mask| matches!(mask.f_kind(), Ok(tch::Kind::Bool)));
    if !train
        && boolean_masks
        && let Some(fused) = fused(attention, &pass).context(NAME, query)?
    {
        return Ok(fused);
    }
    compute(attention, pass, train).context(NAME, query)
}

/// Rejects what PyTorch's Python code rejects, and what libtorch would reject in a call that then
/// panics.
fn check(attention: &MultiheadAttention, pass: &Pass<'_>) -> Result<(), InitError> {
    let [query, key, value] = [pass.query, pass.key, pass.value].map(Tensor::size);
    let dims = query.len();
    if !(dims == 2 || dims == 3) || key.len() != dims || value.len() != dims {
        return Err(refused(
            KIND,
            "query",
            format!(
                "query, key and value must all have 2 dimensions or, with a batch, 3, got shapes \
             {query:?}, {key:?} and {value:?}"
            ),
        ));
    }
    if query.last() != Some(&attention.embed_dim) {
        return Err(refused(
            KIND,
            "query",
            format!(
                "the query must have embed_dim = {} features, got shape {query:?}",
                attention.embed_dim
            ),
        ));
    }
    let same = match attention.in_proj_weight {
        Some(_) => key == value,
        None => key[..dims - 1] == value[..dims - 1],
    };
    if !same {
        return Err(refused(
            KIND,
            "key",
            format!("key shape {key:?} does not match value shape {value:?}"),
        ));
    }
    let (sequence, batch) = match (dims, attention.config.batch_first) {
        (3, true) => (1, Some(0)),
        (3, false) => (0, Some(1)),
        _ => (0, None),
    };
    let (target, source) = (query[sequence], key[sequence]);
    let batch_size = batch.map_or(1, |dim| query[dim]);
    if let Some(padding) = &pass.key_padding_mask {
        let wanted: Vec<i64> = batch
            .map(|_| batch_size)
            .into_iter()
            .chain([source])
            .collect();
        if padding.size() != wanted {
            return Err(refused(
                KIND,
                "key_padding_mask",
                format!(
                    "key_padding_mask must have shape {wanted:?}, got {:?}",
                    padding.size()
                ),
            ));
        }
    }
    let kind = pass.query.f_kind().context(NAME, pass.query)?;
    match &pass.attn_mask {
        Some(mask) => {
            let each = [batch_size * attention.num_heads, target, source];
            let size = mask.size();
            if size != each[1..] && size != each {
                return Err(refused(
                    KIND,
                    "attn_mask",
                    format!(
                        "attn_mask must have shape {:?} or {each:?}, got {size:?}",
                        &each[1..]
                    ),
                ));
            }
        }
        None if pass.is_causal => {
            return Err(refused(
                KIND,
                "is_causal",
                "is_causal = true needs the causal mask as attn_mask".to_owned(),
            ));
        }
        None => {}
    }
    for mask in [&pass.attn_mask, &pass.key_padding_mask]
        .into_iter()
        .flatten()
    {
        let of = mask.f_kind().context(NAME, mask)?;
        if pass.need_weights && (of != kind || mask.device() != pass.query.device()) {
            return Err(refused(
                KIND,
                "attn_mask",
                format!(
                    "masks must be of the query's kind and on its device ({kind:?}, {:?}), got \
                 {of:?}, {:?}",
                    pass.query.device(),
                    mask.device()
                ),
            ));
        }
    }
    Ok(())
}

/// libtorch's fused kernel, where PyTorch uses it.
fn fused(
    attention: &MultiheadAttention,
    pass: &Pass<'_>,
) -> Result<Option<(Tensor, Option<Tensor>)>, TchError> {
    let (Some(in_weight), Some(in_bias), Some(out_bias)) = (
        &attention.in_proj_weight,
        &attention.in_proj_bias,
        &attention.out_proj.bs,
    ) else {
        return Ok(None);
    };
    let out_weight = &attention.out_proj.ws;
    let tensors = [pass.query, in_weight, in_bias, out_weight, out_bias];
    let possible = pass.is_batched
        && pass.one_query_key
        && pass.one_key_value
        && pass.query.f_kind()? == in_weight.f_kind()?
        && pass.query.f_kind()? == in_bias.f_kind()?
        && attention.num_heads % 2 == 0
        && attention.config.batch_first
        && attention.bias_k.is_none()
        && attention.bias_v.is_none()
        && !attention.config.add_zero_attn
        && tensors
            .iter()
            .all(|tensor| matches!(tensor.device(), Device::Cpu | Device::Cuda(_)));
    if !possible || mask::asks_for_gradients(&tensors)? {
        return Ok(None);
    }
    let (merged, mask_type) = mask::merge(
        pass.attn_mask.as_ref(),
        pass.key_padding_mask.as_ref(),
        pass.query,
        attention.num_heads,
    )?;
    let (output, weights) = Tensor::f_internal_native_multi_head_attention(
        pass.query,
        pass.key,
        pass.value,
        attention.embed_dim,
        attention.num_heads,
        in_weight,
        in_bias,
        out_weight,
        out_bias,
        merged,
        pass.need_weights,
        pass.average_attn_weights,
        mask_type,
    )?;
    Ok(Some((output, pass.need_weights.then_some(weights))))
}

/// `multi_head_attention_forward`, `torch/nn/functional.py`, PyTorch 2.13: the same operations in
/// the same order.
fn compute(
    attention: &MultiheadAttention,
    pass: Pass<'_>,
    train: bool,
) -> Result<(Tensor, Option<Tensor>), TchError> {
    let heads = attention.num_heads;
    let inputs = [pass.query, pass.key, pass.value];
    let [query, key, value] = match (pass.is_batched, attention.config.batch_first) {
        (true, true) => inputs.map(|x| x.f_transpose(1, 0)),
        (true, false) => inputs.map(|x| Ok(x.shallow_clone())),
        (false, _) => inputs.map(|x| x.f_unsqueeze(1)),
    };
    let (query, key, value) = (query?, key?, value?);
    let (tgt_len, bsz, embed_dim) = query.size3()?;
    let (mut k_len, _, _) = key.size3()?;
    let head_dim = embed_dim / heads;

    let mut key_padding_mask = match pass.key_padding_mask {
        Some(mask) if !pass.is_batched => Some(mask.f_unsqueeze(0)?),
        mask => mask,
    };
    // The kernel of the product knows the causal mask without being shown it.
    let shown = !pass.is_causal || key_padding_mask.is_some() || pass.need_weights;
    let mut attn_mask = match pass.attn_mask.filter(|_| shown) {
        Some(mask) if mask.dim() == 2 => Some(mask.f_unsqueeze(0)?),
        mask => mask,
    };
    let is_causal = pass.is_causal && key_padding_mask.is_none();

    // Of an input without a batch PyTorch makes three new tensors.
    let one_key_value = pass.is_batched && pass.one_key_value;
    let one = (one_key_value, pass.one_query_key);
    let [q, mut k, mut v] = in_projection(attention, &query, &key, &value, one)?;

    let mut added = 0;
    if let (Some(bias_k), Some(bias_v)) = (&attention.bias_k, &attention.bias_v) {
        k = Tensor::f_cat(&[k, bias_k.f_repeat([1, bsz, 1])?], 0)?;
        v = Tensor::f_cat(&[v, bias_v.f_repeat([1, bsz, 1])?], 0)?;
        k_len += 1;
        added += 1;
    }
    let q = q
        .f_view([tgt_len, bsz * heads, head_dim])?
        .f_transpose(0, 1)?;
    k = k
        .f_view([k_len, bsz * heads, head_dim])?
        .f_transpose(0, 1)?;
    v = v
        .f_view([k_len, bsz * heads, head_dim])?
        .f_transpose(0, 1)?;
    if attention.config.add_zero_attn {
        let zeros = |like: &Tensor| {
            let options = (like.f_kind()?, like.device());
            Tensor::f_zeros([bsz * heads, 1, head_dim], options)
        };
        let (zero_k, zero_v) = (zeros(&k)?, zeros(&v)?);
        k = Tensor::f_cat(&[k, zero_k], 1)?;
        v = Tensor::f_cat(&[v, zero_v], 1)?;
        added += 1;
    }
    if added > 0 {
        for mask in [&mut attn_mask, &mut key_padding_mask]
            .into_iter()
            .flatten()
        {
            *mask = mask.f_pad([0, added], "constant", None)?;
        }
    }
    let src_len = k.size3()?.1;

    if let Some(padding) = key_padding_mask {
        let padding = padding
            .f_view([bsz, 1, 1, src_len])?
            .f_expand([-1, heads, -1, -1], false)?
            .f_reshape([bsz * heads, 1, src_len])?;
        attn_mask = Some(match attn_mask {
            Some(mask) => mask.f_add(&padding)?,
            None => padding,
        });
    }
    let dropout = if train { attention.config.dropout } else { 0.0 };

    let (output, weights) = if pass.need_weights {
        let scaled = q.f_mul_scalar((1.0 / head_dim as f64).sqrt())?;
        let transposed = k.f_transpose(-2, -1)?;
        let scores = match &attn_mask {
            Some(mask) => mask.f_baddbmm(&scaled, &transposed, 1, 1)?,
            None => scaled.f_bmm(&transposed)?,
        };
        let mut weights = scores.f_softmax(-1, None)?;
        if dropout > 0.0 {
            weights = weights.f_dropout(dropout, true)?;
        }
        let output = weights.f_bmm(&v)?.f_transpose(0, 1)?;
        let weights = weights.f_view([bsz, heads, tgt_len, src_len])?;
        (output.f_reshape([tgt_len * bsz, embed_dim])?, Some(weights))
    } else {
        let attn_mask = match attn_mask {
            Some(mask) if mask.size3()?.0 == 1 => Some(mask.f_unsqueeze(0)?),
            Some(mask) => Some(mask.f_view([bsz, heads, -1, src_len])?),
            None => None,
        };
        let q = q.f_view([bsz, heads, tgt_len, head_dim])?;
        let k = k.f_view([bsz, heads, src_len, head_dim])?;
        let v = v.f_view([bsz, heads, src_len, head_dim])?;
        let output = Tensor::f_scaled_dot_product_attention(
            &q, &k, &v, attn_mask, dropout, is_causal, None, false,
        )?;
        let output = output.f_permute([2, 0, 1, 3])?;
        (output.f_reshape([bsz * tgt_len, embed_dim])?, None)
    };
    let output = output.f_linear(&attention.out_proj.ws, attention.out_proj.bs.as_ref())?;
    let mut output = output.f_view([tgt_len, bsz, output.size2()?.1])?;
    let mut weights = match weights {
        Some(weights) if pass.average_attn_weights => Some(weights.f_mean_dim(1, false, None)?),
        weights => weights,
    };
    if !pass.is_batched {
        output = output.f_squeeze_dim(1)?;
        weights = weights.map(|w| w.f_squeeze_dim(0)).transpose()?;
    } else if attention.config.batch_first {
        output = output.f_transpose(1, 0)?;
    }
    Ok((output, weights))
}
