//! Numbers for equal things.

use hashbrown::HashTable;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Things without duplicates, numbered in the order in which they are met.
#[derive(Debug, Clone)]
pub struct Distinct<T> {
    items: Vec<T>,
    numbers: HashTable<u32>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Distinct<T> {
        Distinct {
            items: Vec::new(),
            numbers: HashTable::new(),
        }
    }
}

impl<T: Hash + Eq> Distinct<T> {
    /// The number of a thing, which is new or known.
    pub fn number(&mut self, item: T) -> u32 {
        let hash = hash_of(&item);
        let items = &self.items;
        if let Some(known) = self.numbers.find(hash, |n| items[*n as usize] == item) {
            return *known;
        }
        let next = self.items.len() as u32;
        self.items.push(item);
        let items = &self.items;
        self.numbers
            .insert_unique(hash, next, |n| hash_of(&items[*n as usize]));
        next
    }

    /// The number of a thing, if it is known.
    pub fn find(&self, item: &T) -> Option<u32> {
        let found = self
            .numbers
            .find(hash_of(item), |n| self.items[*n as usize] == *item);
        found.copied()
    }

    /// The things by their numbers.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    pub fn shrink(&mut self) {
        let items = &mut self.items;
        items.shrink_to_fit();
        self.numbers.shrink_to_fit(|n| hash_of(&items[*n as usize]));
    }
}

impl<T> std::ops::Index<u32> for Distinct<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.items[number as usize]
    }
}

fn hash_of(item: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    item.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Distinct;

    #[test]
    fn equal_things_have_one_number() {
        let mut words = Distinct::default();
        let numbers = ["a", "b", "a", "c", "b"].map(|word| words.number(word));
        assert_eq!(numbers, [0, 1, 0, 2, 1]);
        words.shrink();
        assert_eq!((words.find(&"c"), words.find(&"d")), (Some(2), None));
        assert_eq!(words.items(), ["a", "b", "c"]);
    }
}
