//! One tensor as `torch.save` of PyTorch 2.13 writes it: a zip archive whose parts around the elements are known before
//! the elements are.

use crate::pickle::Pickle;
use crate::piece::Piece;
use crate::view::row_major;
use std::io;

/// The elements begin at a multiple of this, as PyTorch aligns storages.
const ALIGNMENT: u64 = 64;
/// From this size on a number of a zip archive is written elsewhere, in 64 bits.
const ZIP64: u64 = u32::MAX as u64;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;
/// Checksum and sizes follow the content.
const DESCRIPTOR: u16 = 1 << 3;
/// 1980-01-01, the first day there is.
const DATE: u16 = 0x21;

/// The archive of a tensor that begins at some offset of a file, without the elements.
pub(crate) struct Archive {
    head: Vec<u8>,
    /// The entries of the directory, but the last.
    directory: Vec<u8>,
    entries: u16,
    /// Where the last entry, the elements, begins in the head.
    last: u64,
    elements: u64,
}

impl Archive {
    pub(crate) fn new(piece: &Piece<'_>, offset: u64) -> Archive {
        let mut archive = Archive {
            head: Vec::new(),
            directory: Vec::new(),
            entries: 0,
            last: 0,
            elements: piece.bytes(),
        };
        let mut description = Vec::new();
        // Writing to memory does not fail.
        if let Err(error) = describe(piece, &mut description) {
            debug_assert!(false, "{error}");
        }
        archive.file("data.pkl", &description);
        archive.file("byteorder", b"little");
        archive.file("version", b"3\n");
        archive.start_elements(offset);
        archive
    }

    /// The bytes before the elements.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The bytes of the whole archive.
    pub(crate) fn bytes(&self) -> u64 {
        self.head.len() as u64 + self.elements + self.tail(0).len() as u64
    }

    /// The bytes after elements of this checksum.
    pub(crate) fn tail(&self, crc: u32) -> Vec<u8> {
        let is_large = self.elements >= ZIP64;
        let mut tail = b"PK\x07\x08".to_vec();
        put(&mut tail, [crc]);
        match is_large {
            true => put(&mut tail, [self.elements; 2]),
            false => put(&mut tail, [self.elements as u32; 2]),
        }
        let directory_start = self.head.len() as u64 + self.elements + tail.len() as u64;
        tail.extend(&self.directory);
        let extra = match is_large {
            true => extra_field(1, &[self.elements; 2].map(u64::to_le_bytes).concat()),
            false => Vec::new(),
        };
        let last = Entry {
            name: DATA,
            flags: UTF8 | DESCRIPTOR,
            crc,
            size: self.elements,
            extra: &extra,
        };
        last.central(self.last, &mut tail);
        let directory_end = self.head.len() as u64 + self.elements + tail.len() as u64;
        let (entries, directory) = (self.entries + 1, directory_end - directory_start);
        if directory_start >= ZIP64 {
            tail.extend(b"PK\x06\x06");
            put(&mut tail, [44u64]);
            put(&mut tail, [45u16; 2]);
            put(&mut tail, [0u32; 2]);
            put(&mut tail, [u64::from(entries); 2]);
            put(&mut tail, [directory, directory_start]);
            tail.extend(b"PK\x06\x07");
            put(&mut tail, [0u32]);
            put(&mut tail, [directory_end]);
            put(&mut tail, [1u32]);
        }
        tail.extend(b"PK\x05\x06");
        put(&mut tail, [0, 0, entries, entries]);
        put(&mut tail, [directory, directory_start].map(in_32_bits));
        put(&mut tail, [0u16]);
        tail
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        let name = format!("archive/{name}");
        let entry = Entry {
            name: &name,
            flags: UTF8,
            crc: crc32fast::hash(content),
            size: content.len() as u64,
            extra: &[],
        };
        entry.central(self.head.len() as u64, &mut self.directory);
        entry.local(&mut self.head);
        self.head.extend(content);
        self.entries += 1;
    }

    /// The header before the elements.
    fn start_elements(&mut self, offset: u64) {
        self.last = self.head.len() as u64;
        // The sizes follow the elements, in 64 bits if this field is there.
        let mut extra = match self.elements >= ZIP64 {
            true => extra_field(1, &[0; 16]),
            false => Vec::new(),
        };
        let start = offset + self.last + (LOCAL + DATA.len() + extra.len() + 4) as u64;
        let padding = start.next_multiple_of(ALIGNMENT) - start;
        // The field that PyTorch pads with.
        extra.extend(extra_field(
            u16::from_le_bytes(*b"FB"),
            &vec![b'Z'; padding as usize],
        ));
        let entry = Entry {
            name: DATA,
            flags: UTF8 | DESCRIPTOR,
            crc: 0,
            size: if self.elements >= ZIP64 { ZIP64 } else { 0 },
            extra: &extra,
        };
        entry.local(&mut self.head);
    }
}

/// The name of the elements.
const DATA: &str = "archive/data/0";
/// The size of a local header without name and extra fields.
const LOCAL: usize = 30;

/// A file of the archive.
struct Entry<'a> {
    name: &'a str,
    flags: u16,
    crc: u32,
    size: u64,
    extra: &'a [u8],
}

impl Entry<'_> {
    /// The header before the content.
    fn local(&self, bytes: &mut Vec<u8>) {
        bytes.extend(b"PK\x03\x04");
        self.common(bytes);
        bytes.extend(self.name.as_bytes());
        bytes.extend(self.extra);
    }

    /// The entry of the directory.
    fn central(&self, offset: u64, bytes: &mut Vec<u8>) {
        bytes.extend(b"PK\x01\x02");
        put(bytes, [45u16]);
        self.common(bytes);
        // No comment, disk 0, no attributes.
        put(bytes, [0u16; 3]);
        put(bytes, [0, in_32_bits(offset)]);
        bytes.extend(self.name.as_bytes());
        bytes.extend(self.extra);
    }

    fn common(&self, bytes: &mut Vec<u8>) {
        // Stored, not compressed.
        put(bytes, [45, self.flags, 0, 0, DATE]);
        put(bytes, [self.crc]);
        put(bytes, [in_32_bits(self.size); 2]);
        put(bytes, [self.name.len() as u16, self.extra.len() as u16]);
    }
}

fn extra_field(id: u16, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    put(&mut field, [id, content.len() as u16]);
    field.extend(content);
    field
}

fn in_32_bits(number: u64) -> u32 {
    number.min(ZIP64) as u32
}

/// A number that is written with its lowest byte first.
trait Number {
    fn put(self, bytes: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($t:ty)*) => { $(impl Number for $t {
        fn put(self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }
    })* };
}
numbers!(u16 u32 u64);

fn put<N: Number, const COUNT: usize>(bytes: &mut Vec<u8>, numbers: [N; COUNT]) {
    numbers.into_iter().for_each(|number| number.put(bytes));
}

/// The pickle of the archive: a tensor of a storage without a dtype, as PyTorch writes dtypes that have no storage class
/// (`_rebuild_tensor_v3`); so no list of these classes is needed.
fn describe(piece: &Piece<'_>, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut pickle = Pickle::new(bytes)?;
    pickle.global("torch._utils", "_rebuild_tensor_v3")?;
    pickle.tuple(|pickle| {
        pickle.tuple(|pickle| {
            pickle.string("storage")?;
            pickle.global("torch.storage", "UntypedStorage")?;
            pickle.string("0")?;
            pickle.string("cpu")?;
            pickle.int(piece.bytes())
        })?;
        pickle.persistent()?;
        pickle.int(0)?;
        pickle.ints(&piece.shape)?;
        pickle.ints(&row_major(&piece.shape))?;
        pickle.bool(false)?;
        pickle.global("collections", "OrderedDict")?;
        pickle.ints(&[])?;
        pickle.reduce()?;
        pickle.global("torch", piece.dtype.name())
    })?;
    pickle.reduce()?;
    pickle.finish()
}
