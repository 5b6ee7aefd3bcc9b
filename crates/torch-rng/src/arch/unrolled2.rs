//! Two vectors as one of twice the lanes. Their instructions alternate, so those of one vector fill
//! the latencies of the other's.

use super::isa::Isa;

/// An instruction set whose vectors come in pairs.
#[derive(Debug, Clone, Copy)]
pub struct Unrolled2<I>(pub(crate) I);

/// Defines methods that apply to both vectors of a pair.
macro_rules! both {
    ($($name:ident($($argument:ident: $type:ident),*) -> $result:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: Self::$type),*) -> Self::$result {
            (
                self.0.$name($($argument.0),*),
                self.0.$name($($argument.1),*),
            )
        }
    )*};
}
pub(crate) use both;

impl<I: Isa> Isa for Unrolled2<I> {
    type U = (I::U, I::U);
    type F = (I::F, I::F);

    const LANES: usize = 2 * I::LANES;

    both! {
        and(a: U, b: U) -> U;
        xor(a: U, b: U) -> U;
        add(a: U, b: U) -> U;
        to_f32(a: U) -> F;
        bits(a: F) -> U;
        from_bits(a: U) -> F;
        fmadd(a: F, b: F, c: F) -> F;
    }

    #[inline(always)]
    fn splat(self, word: u32) -> Self::U {
        let both = self.0.splat(word);
        (both, both)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> Self::U {
        // SAFETY: the caller promises that the words of both can be read.
        unsafe { (self.0.load(from), self.0.load(from.add(I::LANES))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: Self::U) {
        // SAFETY: the caller promises that the words of both can be written.
        unsafe {
            self.0.store(to, words.0);
            self.0.store(to.add(I::LANES), words.1);
        }
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self, a: Self::U) -> Self::U {
        (self.0.shl::<BITS>(a.0), self.0.shl::<BITS>(a.1))
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self, a: Self::U) -> Self::U {
        (self.0.shr::<BITS>(a.0), self.0.shr::<BITS>(a.1))
    }
}
