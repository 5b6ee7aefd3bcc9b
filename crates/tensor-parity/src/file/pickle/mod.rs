//! Reads the pickles that `torch.save`, TorchScript and `tch` write, as containers and descriptions
//! of tensors. Nothing is called or imported: an unknown class or function, what it is called with,
//! and the state of an instance become inert values.
//!
//! The opcodes are those of protocols 0 to 5, after `pickle.py` and `pickletools.py` of Python 3.14.

mod call;
mod global;
mod value;

use crate::file::error::Problem;
pub(super) use global::{Element, Global, NumpyKind};
use std::borrow::Cow;
use std::collections::HashMap;
use value::MAX_VALUES;
pub(super) use value::{Heap, Id, NO_KEY, Numpy, Object, Storage, Tensor, Value};

/// The maximum length of a pickle. The elements of tensors are not part of it, those of arrays are.
pub(super) const MAX_LENGTH: usize = 1 << 31;

/// What a pickle builds.
pub(super) struct Pickle<'a> {
    pub(super) heap: Heap<'a>,
    pub(super) root: Id,
    /// The length of the pickle; other data may follow it.
    pub(super) length: usize,
}

/// Runs the pickle at the start of the bytes. `name` is what messages call it.
pub(super) fn read<'a>(bytes: &'a [u8], name: &str) -> Result<Pickle<'a>, Problem> {
    let mut machine = Machine {
        input: Input::new(&bytes[..bytes.len().min(MAX_LENGTH)]),
        heap: Heap::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        items: 0,
    };
    let root = machine.run().map_err(|problem| {
        match machine.input.position == MAX_LENGTH && bytes.len() > MAX_LENGTH {
            true => Problem::damaged(format!(
                "a pickle of more than {MAX_LENGTH} bytes, which is the limit"
            )),
            false => machine.input.locate(problem, name),
        }
    })?;
    Ok(Pickle {
        heap: machine.heap,
        root,
        length: machine.input.position,
    })
}

/// The stack machine that a pickle is a program of.
struct Machine<'a> {
    input: Input<'a>,
    heap: Heap<'a>,
    stack: Vec<Id>,
    /// The heights of the stack at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// The number of items that containers have got.
    items: usize,
}

/// The maximum number of items of all containers: as many as a pickle of 64 MiB may have.
const MAX_ITEMS: usize = 1 << 26;

/// The opcodes, named as in Python's `pickle`.
mod op {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const FRAME: u8 = 0x95;
    pub(super) const STOP: u8 = b'.';
    pub(super) const MARK: u8 = b'(';
    pub(super) const POP: u8 = b'0';
    pub(super) const POP_MARK: u8 = b'1';
    pub(super) const DUP: u8 = b'2';
    pub(super) const NONE: u8 = b'N';
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const LONG4: u8 = 0x8b;
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINUNICODE8: u8 = 0x8d;
    pub(super) const SHORT_BINSTRING: u8 = b'U';
    pub(super) const SHORT_BINBYTES: u8 = b'C';
    pub(super) const BINBYTES: u8 = b'B';
    pub(super) const BINBYTES8: u8 = 0x8e;
    pub(super) const BYTEARRAY8: u8 = 0x96;
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const TUPLE1: u8 = 0x85;
    pub(super) const TUPLE2: u8 = 0x86;
    pub(super) const TUPLE3: u8 = 0x87;
    pub(super) const TUPLE: u8 = b't';
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const APPEND: u8 = b'a';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const EMPTY_SET: u8 = 0x8f;
    pub(super) const ADDITEMS: u8 = 0x90;
    pub(super) const FROZENSET: u8 = 0x91;
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const NEWOBJ: u8 = 0x81;
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const BUILD: u8 = b'b';
    pub(super) const BINPERSID: u8 = b'Q';
    pub(super) const NEWOBJ_EX: u8 = 0x92;
    pub(super) const NEXT_BUFFER: u8 = 0x97;
    pub(super) const READONLY_BUFFER: u8 = 0x98;
    pub(super) const EXT1: u8 = 0x82;
    pub(super) const EXT2: u8 = 0x83;
    pub(super) const EXT4: u8 = 0x84;
    pub(super) const BINSTRING: u8 = b'T';
    // Protocol 0.
    pub(super) const INT: u8 = b'I';
    pub(super) const LONG: u8 = b'L';
    pub(super) const FLOAT: u8 = b'F';
    pub(super) const STRING: u8 = b'S';
    pub(super) const UNICODE: u8 = b'V';
    pub(super) const LIST: u8 = b'l';
    pub(super) const DICT: u8 = b'd';
    pub(super) const GET: u8 = b'g';
    pub(super) const PUT: u8 = b'p';
    pub(super) const INST: u8 = b'i';
    pub(super) const OBJ: u8 = b'o';
    pub(super) const PERSID: u8 = b'P';
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Problem> {
        loop {
            let opcode = self.input.opcode()?;
            if opcode == op::STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            op::PROTO => self.input.take(1).map(drop),
            op::FRAME => self.input.take(8).map(drop),
            op::MARK => {
                if self.marks.len() >= MAX_VALUES {
                    return Err(Problem::damaged(format!("more than {MAX_VALUES} marks")));
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.pop_mark().map(drop),
            op::DUP => self.top().and_then(|id| self.push_id(id)),

            op::NONE => self.push_id(Heap::NONE),
            op::NEWTRUE => self.push_id(Heap::TRUE),
            op::NEWFALSE => self.push_id(Heap::FALSE),
            op::BININT => {
                let value = i32::from_le_bytes(self.input.array()?);
                self.push(Value::Int(i64::from(value)))
            }
            op::BININT1 => {
                let [value] = self.input.array()?;
                self.push(Value::Int(i64::from(value)))
            }
            op::BININT2 => {
                let value = u16::from_le_bytes(self.input.array()?);
                self.push(Value::Int(i64::from(value)))
            }
            op::LONG1 => {
                let digits = self.input.sized::<1>()?;
                self.push_long(digits)
            }
            op::LONG4 => {
                let digits = self.input.sized::<4>()?;
                self.push_long(digits)
            }
            op::BINFLOAT => {
                let value = f64::from_be_bytes(self.input.array()?);
                self.push(Value::Float(value))
            }
            op::BINUNICODE => self.input.sized::<4>().and_then(|s| self.push_str(s)),
            op::SHORT_BINUNICODE => self.input.sized::<1>().and_then(|s| self.push_str(s)),
            op::BINUNICODE8 => self.input.sized::<8>().and_then(|s| self.push_str(s)),
            op::SHORT_BINSTRING => self.input.sized::<1>().and_then(|s| self.push_string(s)),
            op::BINSTRING => self.input.sized::<4>().and_then(|s| self.push_string(s)),
            op::SHORT_BINBYTES => self.opaque_bytes::<1>(),
            op::BINBYTES => self.opaque_bytes::<4>(),
            op::BINBYTES8 | op::BYTEARRAY8 => self.opaque_bytes::<8>(),

            op::EMPTY_TUPLE => self.push_id(Heap::EMPTY),
            op::TUPLE1 => self.tuple(1),
            op::TUPLE2 => self.tuple(2),
            op::TUPLE3 => self.tuple(3),
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            op::EMPTY_LIST | op::EMPTY_SET => self.push(Value::List(Vec::new())),
            op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            op::APPEND => {
                let item = self.pop()?;
                self.count(1)?;
                self.extend(&[item])
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
            op::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.count(2)?;
                self.set_items(&[key, value])
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set_items(&items)
            }

            op::BINPUT => {
                let [key] = self.input.array()?;
                self.put(u32::from(key))
            }
            op::LONG_BINPUT => {
                let key = u32::from_le_bytes(self.input.array()?);
                self.put(key)
            }
            op::MEMOIZE => self.put(self.memo.len() as u32),
            op::BINGET => {
                let [key] = self.input.array()?;
                self.get(u32::from(key))
            }
            op::LONG_BINGET => {
                let key = u32::from_le_bytes(self.input.array()?);
                self.get(key)
            }

            op::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.push_global(Cow::Borrowed(module), Cow::Borrowed(name))
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.heap.get(module), self.heap.get(name)) {
                    (Value::Str(module), Value::Str(name)) => {
                        let (module, name) = (call::copied(module), call::copied(name));
                        self.push_global(module, name)
                    }
                    _ => Err(Problem::damaged("STACK_GLOBAL without two strings")),
                }
            }
            // A class or function of a registry that only the writer has.
            op::EXT1 => self.input.take(1).and_then(|_| self.push_id(Heap::OTHER)),
            op::EXT2 => self.input.take(2).and_then(|_| self.push_id(Heap::OTHER)),
            op::EXT4 => self.input.take(4).and_then(|_| self.push_id(Heap::OTHER)),
            op::NEWOBJ => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.new_object(class, arguments)
            }
            op::NEWOBJ_EX => {
                let (keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.new_object(class, arguments)?;
                self.build(keywords)
            }
            op::OBJ => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(underflow());
                }
                let class = items.remove(0);
                let arguments = self.heap.push(Value::Tuple(items))?;
                self.new_object(class, arguments)
            }
            op::INST => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                let items = self.pop_mark()?;
                let arguments = self.heap.push(Value::Tuple(items))?;
                self.push_global(Cow::Borrowed(module), Cow::Borrowed(name))?;
                let class = self.pop()?;
                self.new_object(class, arguments)
            }
            op::REDUCE => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let id = call::reduce(&mut self.heap, function, arguments)?;
                self.push_id(id)
            }
            op::BUILD => {
                let state = self.pop()?;
                self.build(state)
            }
            op::BINPERSID => {
                let id = self.pop()?;
                let value = call::persistent(&mut self.heap, id)?;
                self.push_id(value)
            }
            // PyTorch cannot read these either.
            op::PERSID => self.input.line().and_then(|_| self.push_id(Heap::OTHER)),
            op::NEXT_BUFFER => self.push_id(Heap::BYTES),
            op::READONLY_BUFFER => self.top().map(drop),

            op::INT => {
                let line = self.input.line()?;
                match line {
                    "01" => self.push_id(Heap::TRUE),
                    "00" => self.push_id(Heap::FALSE),
                    digits => self.push_decimal(digits),
                }
            }
            op::LONG => {
                let line = self.input.line()?;
                self.push_decimal(line.strip_suffix('L').unwrap_or(line))
            }
            op::FLOAT => {
                let value = self.input.line()?.parse();
                self.push(Value::Float(value.unwrap_or(f64::NAN)))
            }
            op::STRING => {
                let line = self.input.raw_line()?;
                let quoted = match line {
                    [b'\'', text @ .., b'\''] | [b'"', text @ .., b'"'] => text,
                    _ => return Err(Problem::damaged("a string without quotes")),
                };
                match quoted.contains(&b'\\') {
                    false => self.push_string(quoted),
                    true => self.push_escaped(quoted),
                }
            }
            op::UNICODE => {
                let line = self.input.raw_line()?;
                match line.contains(&b'\\') {
                    false => self.push_string(line),
                    true => self.push_escaped(line),
                }
            }
            op::LIST => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            op::DICT => {
                let items = self.pop_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&items)
            }
            op::GET => {
                let key = self.input.memo_key()?;
                self.get(key)
            }
            op::PUT => {
                let key = self.input.memo_key()?;
                self.put(key)
            }
            other => Err(Problem::damaged(format!("unknown opcode {other:#04x}"))),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let id = self.heap.push(value)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() >= MAX_VALUES {
            return Err(Problem::damaged(format!(
                "more than {MAX_VALUES} values on the stack"
            )));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Pops a value above the innermost MARK.
    fn pop(&mut self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(underflow),
            false => Err(underflow()),
        }
    }

    fn top(&mut self) -> Result<Id, Problem> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let floor = self.marks.pop().ok_or_else(underflow)?;
        self.count(self.stack.len() - floor)?;
        Ok(self.stack.split_off(floor))
    }

    /// Counts items of a container.
    fn count(&mut self, items: usize) -> Result<(), Problem> {
        self.items += items;
        match self.items <= MAX_ITEMS {
            true => Ok(()),
            false => Err(Problem::damaged(format!("more than {MAX_ITEMS} items"))),
        }
    }

    fn tuple(&mut self, length: usize) -> Result<(), Problem> {
        let mut items = (0..length)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn push_str(&mut self, bytes: &'a [u8]) -> Result<(), Problem> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Str(Cow::Borrowed(text))),
            // Python writes a lone surrogate in three bytes that are not UTF-8.
            Err(_) => self.push_id(Heap::OTHER),
        }
    }

    /// Pushes a Python 2 str: text or bytes.
    fn push_string(&mut self, bytes: &'a [u8]) -> Result<(), Problem> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Str(Cow::Borrowed(text))),
            Err(_) => self.push(Value::Bytes(bytes)),
        }
    }

    /// Pushes text with escapes, of which every character takes at least as many bytes.
    fn push_escaped(&mut self, bytes: &'a [u8]) -> Result<(), Problem> {
        match unescape(bytes) {
            Some(text) => self.push(Value::Str(Cow::Owned(text))),
            None => self.push_id(Heap::BYTES),
        }
    }

    fn push_decimal(&mut self, digits: &'a str) -> Result<(), Problem> {
        match digits.parse() {
            Ok(value) => self.push(Value::Int(value)),
            Err(_) => self.push(Value::BigInt(Cow::Borrowed(digits))),
        }
    }

    /// Pushes an instance, as `class.__new__(class, *arguments)`.
    fn new_object(&mut self, class: Id, arguments: Id) -> Result<(), Problem> {
        let id = match self.heap.get(class) {
            Value::Global(Global::Dictionary) => self.heap.push(Value::Dict(Vec::new()))?,
            _ => call::object(&mut self.heap, class, arguments)?,
        };
        self.push_id(id)
    }

    /// Sets the state of the value on top of the stack.
    fn build(&mut self, state: Id) -> Result<(), Problem> {
        let object = self.top()?;
        match self.heap.get_mut(object) {
            Value::Object(object) => object.state = state,
            Value::Numpy(numpy) => numpy.state = state,
            // Attributes of others, such as `state_dict()._metadata`, are not tensors.
            _ => {}
        }
        Ok(())
    }

    fn opaque_bytes<const N: usize>(&mut self) -> Result<(), Problem> {
        let bytes = self.input.sized::<N>()?;
        self.push(Value::Bytes(bytes))
    }

    /// Pushes an integer in two's complement. Of more than 128 bits it only is known to be one.
    fn push_long(&mut self, digits: &[u8]) -> Result<(), Problem> {
        if digits.len() > 16 {
            return self.push_id(Heap::INT);
        }
        let negative = digits.last().is_some_and(|digit| *digit >= 0x80);
        let mut bytes = [if negative { 0xff } else { 0 }; 16];
        bytes[..digits.len()].copy_from_slice(digits);
        let value = i128::from_le_bytes(bytes);
        self.push(match i64::try_from(value) {
            Ok(value) => Value::Int(value),
            Err(_) => Value::BigInt(Cow::Owned(value.to_string())),
        })
    }

    fn push_global(&mut self, module: Cow<'a, str>, name: Cow<'a, str>) -> Result<(), Problem> {
        self.push(match global::find(&module, &name) {
            Some(global) => Value::Global(global),
            None => Value::Unknown(Box::new([module, name])),
        })
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), Problem> {
        let list = self.top()?;
        match self.heap.get_mut(list) {
            Value::List(list) => list.extend_from_slice(items),
            Value::Object(object) => {
                let items = items.iter().map(|item| (NO_KEY, *item));
                object.items.extend(items);
            }
            Value::Opaque(_) | Value::Numpy(_) => {}
            _ => return Err(Problem::damaged("APPEND to a value that is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let (pairs, rest) = items.as_chunks::<2>();
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        let dict = self.top()?;
        match self.heap.get_mut(dict) {
            _ if !rest.is_empty() => return Err(Problem::damaged("SETITEMS of an odd number")),
            Value::Dict(dict) => dict.extend(pairs),
            Value::Object(object) => object.items.extend(pairs),
            Value::Opaque(_) | Value::Numpy(_) => {}
            _ => {
                return Err(Problem::damaged("SETITEMS of a value that is not a dict"));
            }
        }
        Ok(())
    }

    fn put(&mut self, key: u32) -> Result<(), Problem> {
        let id = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return Err(Problem::damaged(format!(
                "more than {MAX_VALUES} memo entries"
            )));
        }
        self.memo.insert(key, id);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), Problem> {
        match self.memo.get(&key).copied() {
            Some(id) => self.push_id(id),
            None => Err(Problem::damaged(format!(
                "memo entry {key} was never stored"
            ))),
        }
    }
}

fn underflow() -> Problem {
    Problem::damaged("an opcode that lacks its operands")
}

/// The bytes of a pickle and the position in them.
struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The position of the current opcode.
    opcode: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Input<'a> {
        Input {
            bytes,
            position: 0,
            opcode: 0,
        }
    }

    /// Locates a problem at the current opcode.
    fn locate(&self, problem: Problem, name: &str) -> Problem {
        problem.within(&format!("{name} at byte {}", self.opcode))
    }

    fn opcode(&mut self) -> Result<u8, Problem> {
        self.opcode = self.position;
        self.array().map(|[opcode]| opcode)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..length).ok_or_else(|| {
            Problem::damaged(format!(
                "the pickle is truncated: {length} bytes needed, {} remain",
                rest.len()
            ))
        })?;
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The bytes that follow their length, an integer of `N` bytes.
    fn sized<const N: usize>(&mut self) -> Result<&'a [u8], Problem> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(self.take(N)?);
        self.take(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    /// The bytes up to the end of the line.
    fn raw_line(&mut self) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = length
            .map(|length| &rest[..length])
            .ok_or_else(|| Problem::damaged("a line that is not terminated"))?;
        self.position += line.len() + 1;
        Ok(line)
    }

    /// The text up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.raw_line()?)
            .map_err(|_| Problem::damaged("a line that is not UTF-8"))
    }

    fn memo_key(&mut self) -> Result<u32, Problem> {
        let parsed = self.line()?.parse();
        parsed.map_err(|_| Problem::damaged("a memo entry that is not a number"))
    }
}

/// Replaces the escapes that Python writes: `\xhh`, `\uhhhh`, `\Uhhhhhhhh`, and those of one letter.
/// `None` if the text has others.
fn unescape(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let escape = characters.next()?;
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => {
                plain.push(match escape {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '\\' | '\'' | '"' => escape,
                    _ => return None,
                });
                continue;
            }
        };
        let (code, rest) = characters.as_str().split_at_checked(digits)?;
        characters = rest.chars();
        plain.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::{Value, read, unescape};

    #[test]
    fn escapes_are_those_of_python() {
        for (text, plain) in [
            (r"a\\x", Some("a\\x")),
            (r"\u00e4\x41\U0001f600", Some("ä\u{41}😀")),
            (r#"\'\"\n"#, Some("'\"\n")),
            (r"\q", None),
            (r"\x4", None),
            (r"\ud800", None),
            ("\\", None),
        ] {
            assert_eq!(unescape(text.as_bytes()).as_deref(), plain, "{text}");
        }
    }

    /// `pickle.dumps(["a'b", 7, 2**70, True, 1.5], protocol=0)` of Python 3.11, and more.
    #[test]
    fn values_of_protocol_0_are_read() {
        let bytes =
            b"(lp0\nVa'b\np1\naI7\naL1180591620717411303424L\naI01\naF1.5\naS'x\\\\y'\na.rest";
        let pickle = read(bytes, "data.pkl").unwrap();
        assert_eq!(&bytes[pickle.length..], b"rest");
        let Value::List(items) = pickle.heap.get(pickle.root) else {
            panic!("{:?}", pickle.heap);
        };
        let items: Vec<_> = items.iter().map(|id| pickle.heap.get(*id)).collect();
        assert!(matches!(items[0], Value::Str(text) if text == "a'b"));
        assert!(matches!(items[1], Value::Int(7)));
        assert!(matches!(items[2], Value::BigInt(digits) if digits == "1180591620717411303424"));
        assert!(matches!(items[3], Value::Bool(true)));
        assert!(matches!(items[4], Value::Float(1.5)));
        assert!(matches!(items[5], Value::Str(text) if text == r"x\y"));
    }
}
