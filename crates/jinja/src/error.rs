//! Errors of templates.

/// Why a template cannot be compiled or rendered.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Syntax,
    /// The template's own `raise_exception`.
    Raised,
    Runtime,
    /// A bound of the rendering is exceeded.
    Bound,
}

impl Error {
    pub(super) fn syntax(message: impl Into<String>, line: u32) -> Self {
        Self { kind: Kind::Syntax, message: message.into(), line }
    }

    pub(super) fn raised(message: impl Into<String>) -> Self {
        Self { kind: Kind::Raised, message: message.into(), line: 0 }
    }

    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Runtime, message: message.into(), line: 0 }
    }

    /// [`Kind::Bound`]: the template does not terminate, or its values grow.
    pub(super) fn bound(message: impl Into<String>) -> Self {
        Self { kind: Kind::Bound, message: message.into(), line: 0 }
    }

    /// Whether a bound on steps, output, nesting or size was exceeded.
    pub fn is_bound(&self) -> bool {
        self.kind == Kind::Bound
    }

    /// A feature of jinja2 or Python that this engine does not implement.
    pub(super) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new(format!("{what} is not supported in templates"))
    }

    /// Sets the line unless one is set.
    pub(super) fn at(mut self, line: u32) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

impl std::fmt::Display for Error {
    /// One line; `raise_exception`'s message is printed verbatim.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Raised => write!(formatter, "{}", self.message),
            Kind::Syntax => write!(formatter, "syntax error: {} (line {} of the template)", self.message, self.line),
            Kind::Runtime | Kind::Bound => write!(formatter, "{} (line {} of the template)", self.message, self.line),
        }
    }
}

impl std::error::Error for Error {}
