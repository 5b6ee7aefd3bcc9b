//! Tensors, and parts of tensors, as files have them.

use crate::error::PlanError;
use crate::stored_dtype::stored;
use crate::view::View;
use safetensors::Dtype as Stored;
use tensor_parity::Dtype;

/// A tensor of a file, or the rectangle of it that the file has: always a range of the elements.
#[derive(Clone)]
pub(crate) struct Piece<'a> {
    pub(crate) name: &'a str,
    pub(crate) view: &'a View,
    /// The number of the view.
    pub(crate) root: usize,
    /// The dtype that is written.
    pub(crate) dtype: Dtype,
    pub(crate) stored: Stored,
    /// Where in the tensor the rectangle begins.
    pub(crate) offsets: Vec<u64>,
    /// The size of the rectangle.
    pub(crate) shape: Vec<u64>,
    /// Its first element, in row-major order.
    pub(crate) start: u64,
}

impl<'a> Piece<'a> {
    /// A whole tensor, cast to `dtype` as `Module.to(dtype)` casts it.
    pub(crate) fn new(
        name: &'a str,
        view: &'a View,
        root: usize,
        dtype: Option<Dtype>,
    ) -> Result<Piece<'a>, PlanError> {
        // `Module.to(dtype)` discards imaginary parts.
        let is_cast = view.dtype.is_floating_point() || view.dtype.part().is_some();
        let dtype = dtype.filter(|_| is_cast).unwrap_or(view.dtype);
        let stored = stored(dtype).ok_or_else(|| PlanError::NotStored {
            name: name.to_owned(),
            dtype,
        })?;
        Ok(Piece {
            name,
            view,
            root,
            dtype,
            stored,
            offsets: vec![0; view.shape.len()],
            shape: view.shape.clone(),
            start: 0,
        })
    }

    /// The number of elements.
    pub(crate) fn numel(&self) -> u64 {
        self.shape.iter().product()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.numel() * self.dtype.size() as u64
    }

    /// The piece of a whole tensor that number `index` of `count` files has: rows, as `torch.chunk` cuts them. Where
    /// there are fewer rows than files, as of experts, each row is cut along dimension 1 for as many files as there are
    /// for a row. The first file has scalars and empty tensors.
    pub(crate) fn of_file(&self, index: u64, count: u64) -> Option<Piece<'a>> {
        let Some(rows) = self.shape.first().filter(|_| self.numel() > 0) else {
            return (index == 0).then(|| self.clone());
        };
        if *rows >= count || self.shape.len() == 1 {
            return self.chunk(0, index, count);
        }
        let per_row = count / rows;
        let row = self.chunk(0, index / per_row, *rows)?;
        row.chunk(1, index % per_row, per_row)
    }

    /// No rows, after the last; `None` of a scalar.
    pub(crate) fn no_rows(&self) -> Option<Piece<'a>> {
        let mut piece = self.clone();
        piece.start += self.numel();
        *piece.offsets.first_mut()? += *self.shape.first()?;
        *piece.shape.first_mut()? = 0;
        Some(piece)
    }

    /// A chunk of a dimension, before which the others are of size 1.
    fn chunk(&self, dim: usize, index: u64, count: u64) -> Option<Piece<'a>> {
        let size = self.shape[dim];
        let chunk = size.div_ceil(count);
        let from = index.checked_mul(chunk).filter(|from| *from < size)?;
        let mut piece = self.clone();
        piece.offsets[dim] += from;
        piece.shape[dim] = chunk.min(size - from);
        piece.start += from * self.shape[dim + 1..].iter().product::<u64>();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::row_major;

    /// Offsets, shape and first element.
    type Rectangle = (Vec<u64>, Vec<u64>, u64);

    /// What each file has.
    fn pieces(shape: &[u64], count: u64) -> Vec<Option<Rectangle>> {
        let numel: u64 = shape.iter().product();
        let view = View::new(
            0,
            Dtype::Float32,
            0,
            shape.to_vec(),
            row_major(shape),
            numel * 4,
        );
        let view = view.unwrap();
        let whole = Piece::new("t", &view, 0, None).unwrap();
        let piece = |index| whole.of_file(index, count);
        let found = (0..count).map(|index| piece(index).map(|p| (p.offsets, p.shape, p.start)));
        found.collect()
    }

    #[test]
    fn rows_are_cut_as_torch_chunk_cuts_them() {
        let row = |at: u64, rows: u64| Some((vec![at, 0], vec![rows, 2], 2 * at));
        // torch.arange(10).chunk(4): 3, 3, 3, 1; torch.arange(9).chunk(6): 2, 2, 2, 2, 1, and none.
        assert_eq!(
            pieces(&[10, 2], 4),
            [row(0, 3), row(3, 3), row(6, 3), row(9, 1)]
        );
        assert_eq!(pieces(&[9, 2], 6)[4..], [row(8, 1), None]);
        assert_eq!(pieces(&[2], 3)[1..], [Some((vec![1], vec![1], 1)), None]);
        for shape in [&[][..], &[0, 5], &[5, 0]] {
            let found = pieces(shape, 3);
            assert_eq!(found[0], Some((vec![0; shape.len()], shape.to_vec(), 0)));
            assert_eq!(found[1..], [None, None]);
        }
    }

    #[test]
    fn fewer_rows_than_files_are_cut_along_dimension_1() {
        let found = pieces(&[2, 5, 3], 7);
        let expected = [
            (0, 0, 2),
            (0, 2, 2),
            (0, 4, 1),
            (1, 0, 2),
            (1, 2, 2),
            (1, 4, 1),
        ];
        for (piece, (row, column, columns)) in found.iter().zip(expected) {
            let offsets = vec![row, column, 0];
            let start = row * 15 + column * 3;
            assert_eq!(*piece, Some((offsets, vec![1, columns, 3], start)));
        }
        assert_eq!(found[6], None);
        // Every element is in one piece.
        for shape in [&[7, 3][..], &[3, 2, 2], &[1, 50], &[64], &[5, 1]] {
            for count in [1, 2, 3, 5, 8, 64] {
                let mut next = 0;
                for (_, shape, start) in pieces(shape, count).into_iter().flatten() {
                    assert_eq!(start, next);
                    next += shape.iter().product::<u64>();
                }
                assert_eq!(next, shape.iter().product::<u64>());
            }
        }
    }
}
