use super::*;

fn compare<const N: usize>(a: [f32; N], b: [f32; N], criterion: Criterion) -> TensorComparison {
    let [a, b] = [a, b].map(|x| x.map(f32::to_le_bytes).concat());
    let view = |bytes| TensorView::contiguous(Dtype::Float32, &[N], bytes).unwrap();
    TensorComparison::new(&view(&a), &view(&b), criterion)
}

const NAN: f32 = f32::from_bits(0x7fc0_0000);
const OTHER_NAN: f32 = f32::from_bits(0xffc0_1234);

#[test]
fn zeros_and_nan_differ_in_bits_only() {
    let (a, b) = ([0.0, NAN, 1.0, NAN], [-0.0, OTHER_NAN, 1.0, NAN]);
    let bits = compare(a, b, Criterion::Bits);
    assert_eq!((bits.differing, bits.mismatched), (2, 2));
    assert_eq!((bits.signed_zeros, bits.nan_payloads), (1, 1));
    assert_eq!(bits.specials.actual, Specials { nan: 2, inf: 0 });
    assert_eq!(bits.ulps.unwrap().difference, Some(0));
    assert!(compare(a, b, Criterion::Ulp(0)).is_same());
    // Also the NaN whose bits are equal.
    let close = compare(a, b, Criterion::close());
    assert_eq!((close.differing, close.mismatched), (2, 2));
    assert_eq!(close.first_mismatch.unwrap().index, [1]);
    assert_eq!(compare([NAN], [NAN], Criterion::close()).mismatched, 1);
    assert!(compare([NAN], [NAN], Criterion::Bits).is_same());
    let equal_nan = Criterion::Close {
        rtol: None,
        atol: None,
        equal_nan: true,
        check_dtype: true,
    };
    assert!(compare(a, b, equal_nan).is_same());
}

#[test]
fn one_nan_is_further_than_any_limit() {
    let comparison = compare([1.0, NAN], [1.0, 2.0], Criterion::Ulp(u64::MAX));
    assert_eq!(comparison.failure, Some(Failure::Values));
    assert_eq!(comparison.ulps.unwrap().difference, None);
    let ends = compare(
        [f32::INFINITY],
        [f32::NEG_INFINITY],
        Criterion::Ulp(u64::MAX),
    );
    assert!(ends.is_same());
    assert_eq!(ends.ulps.unwrap().difference, Some(0xff00_0000));
}

/// Those that match do not hide the greatest difference of those that do not.
#[test]
fn extremes_are_over_what_fails() {
    let (a, b) = ([1e6, 0.0, 0.0], [1e6 + 0.5, 1e-3, 2e-3]);
    let comparison = compare(a, b, Criterion::close());
    assert_eq!((comparison.differing, comparison.mismatched), (3, 2));
    assert_eq!(comparison.absolute.unwrap().at.index, [2]);
    assert_eq!(comparison.relative.unwrap().at.index, [1]);
    let all_match = compare([1e6], [1e6 + 0.5], Criterion::close());
    assert!(all_match.is_same());
    assert_eq!(
        all_match.absolute.unwrap().difference,
        Difference::Float(0.5)
    );
}

#[test]
fn integers_are_exact() {
    let [a, b] = [i64::MIN, i64::MAX].map(i64::to_le_bytes);
    let view = |bytes| TensorView::contiguous(Dtype::Int64, &[1], bytes).unwrap();
    let comparison = TensorComparison::new(&view(&a), &view(&b), Criterion::Ulp(u64::MAX));
    assert_eq!(comparison.failure, Some(Failure::Values));
    assert_eq!(
        comparison.absolute.unwrap().difference,
        Difference::Integer(u64::MAX)
    );
    assert_eq!(comparison.ulps, None);
    // Equal as floats.
    let [a, b] = [(1i64 << 53) + 1, 1 << 53].map(i64::to_le_bytes);
    let comparison = TensorComparison::new(&view(&a), &view(&b), Criterion::close());
    assert_eq!(
        comparison.absolute.unwrap().difference,
        Difference::Integer(1)
    );
    assert_eq!(comparison.differing, 1);
}

#[test]
fn shapes_and_dtypes() {
    let bytes = [0; 8];
    let view = |dtype, shape: &[usize]| TensorView::contiguous(dtype, shape, &bytes).unwrap();
    let new = TensorComparison::new;
    let single = view(Dtype::Float32, &[2]);
    let shape = new(&single, &view(Dtype::Float64, &[1]), Criterion::Bits);
    assert_eq!((shape.failure, shape.elements), (Some(Failure::Shape), 0));
    let halves = view(Dtype::Float16, &[4]);
    let bfloats = view(Dtype::Bfloat16, &[4]);
    let dtype = new(&halves, &bfloats, Criterion::Bits);
    assert_eq!(dtype.failure, Some(Failure::Dtype));
    assert_eq!(
        (dtype.compared_in, dtype.differing),
        (Some(Dtype::Float32), 0)
    );
    let lax = Criterion::Close {
        rtol: None,
        atol: None,
        equal_nan: false,
        check_dtype: false,
    };
    assert!(new(&halves, &bfloats, lax).is_same());
    let bytes = view(Dtype::Uint8, &[8]);
    let float8 = view(Dtype::Float8E5m2, &[8]);
    assert_eq!(new(&bytes, &float8, lax).failure, Some(Failure::Promotion));
    let tolerant = Criterion::Close {
        rtol: Some(0.1),
        atol: Some(0.0),
        equal_nan: false,
        check_dtype: true,
    };
    assert_eq!(
        new(&float8, &float8, tolerant).failure,
        Some(Failure::Tolerance)
    );
    assert!(new(&float8, &float8, Criterion::close()).is_same());
}

/// Of every dtype that has them, by parts where there are two.
#[test]
fn ulps_of_every_float() {
    for dtype in Dtype::ALL {
        let part = dtype.part().unwrap_or(dtype);
        if !part.is_floating_point() {
            continue;
        }
        let mut next = vec![0; dtype.size()];
        let imaginary = dtype.size() - part.size();
        next[imaginary] = 3;
        let zero = Element::new(dtype, &vec![0; dtype.size()]).unwrap();
        let element = Element::new(dtype, &next).unwrap();
        assert_eq!(element.ulp_distance(&zero), Some(3), "{dtype}");
        assert_eq!(element.ulp_distance(&element), Some(0), "{dtype}");
        let nan = Element::new(dtype, &vec![0xff; dtype.size()]).unwrap();
        let has_nan = !matches!(dtype, Dtype::Float8E4m3fnuz | Dtype::Float8E5m2fnuz);
        if has_nan {
            assert_eq!(nan.ulp_distance(&zero), None, "{dtype}");
        }
    }
}
