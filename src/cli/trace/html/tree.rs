//! The operations as a tree of modules.

use super::page::{breakable, escape};
use crate::cli::trace::layers::phase_number;
use op_trace::{Operation, Verdict};
use std::collections::HashMap;

/// Operations, counted by module and kind.
pub struct Tree {
    /// The first is the root.
    nodes: Vec<Node>,
    child: HashMap<(usize, String), usize>,
    row: HashMap<(usize, String), usize>,
    /// The node of each layer.
    of_layer: HashMap<u32, usize>,
    is_judged: bool,
}

#[derive(Default)]
struct Node {
    name: String,
    children: Vec<usize>,
    rows: Vec<(String, Counts)>,
    counts: Counts,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    /// Forward, backward, optimizer.
    phases: [usize; 3],
    shared: usize,
    departed: usize,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        for (sum, count) in self.phases.iter_mut().zip(other.phases) {
            *sum += count;
        }
        self.shared += other.shared;
        self.departed += other.departed;
    }

    fn total(&self) -> usize {
        self.phases.iter().sum()
    }
}

impl Tree {
    /// `is_judged`: whether operations are green or red.
    pub fn new(root: &str, is_judged: bool) -> Tree {
        let root = Node {
            name: root.to_owned(),
            ..Node::default()
        };
        Tree {
            nodes: vec![root],
            child: HashMap::new(),
            row: HashMap::new(),
            of_layer: HashMap::new(),
            is_judged,
        }
    }

    /// Adds an operation of a layer with this path.
    pub fn add(&mut self, layer: u32, path: &[&str], operation: &Operation, verdict: Verdict) {
        let node = match self.of_layer.get(&layer) {
            Some(node) => *node,
            None => {
                let node = path.iter().fold(0, |node, name| self.child(node, name));
                self.of_layer.insert(layer, node);
                node
            }
        };
        let mut counts = Counts::default();
        counts.phases[phase_number(operation.phase)] = 1;
        counts.shared = usize::from(verdict == Verdict::Shared);
        counts.departed = usize::from(verdict == Verdict::Departed);
        let name = operation.schema();
        let rows = &mut self.nodes[node].rows;
        let row = *self
            .row
            .entry((node, name))
            .or_insert_with_key(|(_, name)| {
                rows.push((name.clone(), Counts::default()));
                rows.len() - 1
            });
        rows[row].1.add(counts);
    }

    fn child(&mut self, parent: usize, name: &str) -> usize {
        if let Some(known) = self.child.get(&(parent, name.to_owned())) {
            return *known;
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            name: name.to_owned(),
            ..Node::default()
        });
        self.nodes[parent].children.push(node);
        self.child.insert((parent, name.to_owned()), node);
        node
    }

    /// The tree, with the modules of `open` unfolded.
    pub fn html(&mut self, open: &[&str]) -> String {
        // Children have larger numbers than their parents.
        for node in (0..self.nodes.len()).rev() {
            let mut counts = self.nodes[node].counts;
            for (_, row) in &self.nodes[node].rows {
                counts.add(*row);
            }
            for child in &self.nodes[node].children {
                counts.add(self.nodes[*child].counts);
            }
            self.nodes[node].counts = counts;
        }
        format!("<div class=\"tree\">\n{}</div>\n", self.node(0, Some(open)))
    }

    /// `open`: the names of the rest of a path that is unfolded.
    fn node(&self, index: usize, open: Option<&[&str]>) -> String {
        let node = &self.nodes[index];
        let mut html = format!(
            "<details{}><summary>{}<span class=\"name\">{}</span> <span class=\"soft\">{}</span></summary>\n",
            if open.is_some() { " open" } else { "" },
            self.bar(node.counts),
            breakable(&node.name),
            self.count_text(node.counts)
        );
        for child in &node.children {
            let rest = open.and_then(|open| {
                let (first, rest) = open.split_first()?;
                (*first == self.nodes[*child].name).then_some(rest)
            });
            html += &self.node(*child, rest);
        }
        if !node.rows.is_empty() {
            html += &self.rows(&node.rows);
        }
        html + "</details>\n"
    }

    fn bar(&self, counts: Counts) -> String {
        let judged = counts.shared + counts.departed;
        if !self.is_judged || judged == 0 {
            return String::new();
        }
        // Never full while something departs.
        let part = 100 * counts.shared / judged;
        format!("<span class=\"bar\" style=\"--part:{part}%\"></span>")
    }

    fn count_text(&self, counts: Counts) -> String {
        let total = counts.total();
        let plural = if total == 1 { "" } else { "s" };
        match counts.departed {
            0 => format!("{total} operation{plural}"),
            departed => {
                format!("{total} operation{plural}, <span class=\"bad\">{departed} depart</span>")
            }
        }
    }

    fn rows(&self, rows: &[(String, Counts)]) -> String {
        let judged = if self.is_judged {
            "<th class=\"n\">depart"
        } else {
            ""
        };
        let mut html = format!(
            "<div class=\"scroll\"><table>\n<tr><th>operation<th class=\"n\">forward<th class=\"n\">backward<th class=\"n\">optimizer{judged}\n"
        );
        for (name, counts) in rows {
            let class = match (counts.shared, counts.departed) {
                (0, 0) => "",
                (_, 0) => " good",
                _ => " bad",
            };
            let class = if self.is_judged { class } else { "" };
            html += &format!("<tr><td class=\"name{class}\">{}", escape(name));
            let departed = self.is_judged.then_some(counts.departed);
            for count in counts.phases.into_iter().chain(departed) {
                let text = if count == 0 {
                    String::new()
                } else {
                    count.to_string()
                };
                html += &format!("<td class=\"n\">{text}");
            }
            html.push('\n');
        }
        html + "</table></div>\n"
    }
}
