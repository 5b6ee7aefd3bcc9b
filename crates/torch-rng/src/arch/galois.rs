//! Instructions over GF(2) beside AVX-512.

/// Proof that this CPU has AVX-512 F, BW and VBMI, GFNI, PCLMULQDQ and VPCLMULQDQ.
#[derive(Debug, Clone, Copy)]
pub struct Galois(());

impl Galois {
    pub(crate) fn new() -> Option<Galois> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("gfni")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vpclmulqdq");
        has.then_some(Galois(()))
    }
}
