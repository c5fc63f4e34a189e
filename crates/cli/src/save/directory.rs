//! The directory of `gather --output`: a file for each body, and a manifest.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use inflight::backend::Runtime;
use inflight::download::{CompleteFile, PartialFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names::{NameFields, NameTemplate, numbered, relative_path, unnumbered};
use super::{Completion, OpenFiles};
use crate::exit::{CliError, print_to_stderr};
use crate::journal::{Decision, EarlierRecords};
use crate::line_file::{LineFile, for_each_line};
use crate::output::redacted;

/// The name of the manifest in the directory.
pub(crate) const MANIFEST: &str = "manifest.jsonl";

/// The start of the names of temporary files.
const TEMPORARY: &str = ".inflight-";

/// A directory with a file for each body. Clones share the directory.
#[derive(Clone)]
pub(crate) struct OutputDirectory(Arc<Shared>);

struct Shared {
    path: PathBuf,
    template: NameTemplate,
    is_resumed: bool,
    manifest: Mutex<LineFile>,
    /// The names that are taken. Not used for names that consist only of an index.
    taken: Mutex<TakenNames>,
    /// The names that an earlier run chose for URLs that this run fetches again, by index.
    own_names: HashMap<usize, OwnName>,
    open_files: OpenFiles,
}

/// The settings of a directory.
pub(crate) struct DirectoryOptions {
    pub(crate) path: PathBuf,
    pub(crate) template: NameTemplate,
    /// Whether this run continues an earlier one (`--continue`).
    pub(crate) is_resumed: bool,
}

/// A directory that is ready for a run.
pub(crate) struct OpenedDirectory {
    pub(crate) directory: OutputDirectory,
    /// Completes when all files have been renamed or deleted.
    pub(crate) completion: Completion,
    /// The URLs in the manifest whose files are complete, by index. Empty without `--continue` and with a journal.
    pub(crate) finished: BTreeMap<usize, String>,
}

/// The name that an earlier run gave the file of a URL.
struct OwnName {
    url: String,
    file: String,
}

/// The values from which the name of a file and its line in the manifest are made.
#[derive(Debug, Clone)]
pub(crate) struct BodyInfo {
    pub(crate) index: usize,
    pub(crate) url: String,
    pub(crate) id: Option<String>,
    /// The name that the input specifies.
    pub(crate) output: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<String>,
}

/// A line of the manifest. If several lines have the same index, the last one is valid.
#[derive(Serialize, Deserialize)]
struct ManifestLine {
    index: usize,
    url: String,
    id: Option<String>,
    file: String,
    bytes: u64,
    sha256: Option<String>,
    content_type: Option<String>,
}

/// A body that was saved under its name.
#[derive(Debug, Clone)]
pub(crate) struct SavedBody {
    /// The path in the directory.
    pub(crate) file: String,
    pub(crate) sha256: Option<String>,
}

/// The decision whether a body gets its name or its download is cancelled. Clones share the decision.
#[derive(Clone, Default)]
pub(crate) struct SaveDecision(Arc<Mutex<SaveState>>);

#[derive(Default)]
enum SaveState {
    #[default]
    Undecided,
    Cancelled,
    Saved(SavedBody),
}

impl SaveDecision {
    /// Prevents the body from getting its name later. Returns the body if it already has its name.
    pub(crate) fn cancel(&self) -> Option<SavedBody> {
        let mut state = self.lock();
        match &*state {
            SaveState::Saved(body) => Some(body.clone()),
            SaveState::Undecided | SaveState::Cancelled => {
                *state = SaveState::Cancelled;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, SaveState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputDirectory {
    #[cfg(feature = "queue")]
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Creates the directory if it does not exist, checks that it is writable, and deletes the temporary files
    /// of runs that were killed.
    pub(crate) fn open(
        options: DirectoryOptions,
        earlier: Option<&EarlierRecords>,
    ) -> Result<OpenedDirectory, CliError> {
        let DirectoryOptions {
            path,
            template,
            is_resumed,
        } = options;
        let error = |error: io::Error| {
            CliError::usage(format_args!("cannot write to {}: {error}", path.display()))
        };
        fs::create_dir_all(&path)
            .and_then(|()| PartialFile::check_writable(&path.join(format!("{TEMPORARY}check"))))
            .map_err(error)?;
        let manifest_path = path.join(MANIFEST);
        let Some(mut manifest) = LineFile::open(&manifest_path).map_err(error)? else {
            return Err(CliError::usage(format_args!(
                "another run is writing to {}: wait for its end, or use another directory",
                path.display()
            )));
        };
        let removed = remove_temporary_files(&path, is_resumed).map_err(error)?;
        if removed > 0 {
            print_to_stderr(format_args!(
                "deleted {removed} unfinished files of an earlier run from {}: --continue would keep them",
                path.display()
            ));
        }

        let mut contents = ManifestContents::default();
        for_each_line(
            manifest.file(),
            &manifest_path,
            |line: ManifestLine, bytes| {
                contents.len += bytes as u64;
                let decision = earlier.map(|earlier| earlier.decide(line.index, &line.url));
                if is_resumed || decision == Some(Decision::Fetch) {
                    contents.add(line);
                }
            },
        )?;
        manifest.truncate(contents.len).map_err(error)?;
        let is_complete = |line: &ManifestLine| {
            let metadata = fs::symlink_metadata(path.join(&line.file));
            metadata.is_ok_and(|file| file.is_file() && file.len() == line.bytes)
        };
        let (mut finished, mut own_names) = (BTreeMap::new(), HashMap::new());
        for (index, line) in contents.by_index {
            if earlier.is_none() && is_complete(&line) {
                finished.insert(index, line.url);
            } else {
                let (url, file) = (line.url, line.file);
                own_names.insert(index, OwnName { url, file });
            }
        }
        let mut taken = TakenNames::default();
        for name in own_names.values() {
            taken.insert(&name.file);
        }
        let (open_files, completion) = OpenFiles::new();
        let directory = Self(Arc::new(Shared {
            path,
            template,
            is_resumed,
            manifest: Mutex::new(manifest),
            taken: Mutex::new(taken),
            own_names,
            open_files,
        }));
        Ok(OpenedDirectory {
            directory,
            completion,
            finished,
        })
    }

    /// Returns whether downloads continue the partial files of an earlier run.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.is_resumed
    }

    /// Returns a temporary file for the body of the URL with this index.
    pub(crate) fn partial_file(&self, index: usize, runtime: Arc<dyn Runtime>) -> PartialFile {
        PartialFile::new(runtime, self.temporary_path(index)).with_guard(self.0.open_files.clone())
    }

    /// Returns a path for the body of the URL with this index, which is the same in every run.
    pub(crate) fn temporary_path(&self, index: usize) -> PathBuf {
        self.0.path.join(format!("{TEMPORARY}{index:06}"))
    }

    /// Adds a complete file to the manifest, and gives the file its name. If `with_digest` is true, first computes
    /// the digest of the file. Fails if the download was cancelled. During this call, a cancellation waits until
    /// the file has its name. Blocks the thread.
    pub(crate) fn save(
        &self,
        file: CompleteFile,
        mut info: BodyInfo,
        with_digest: bool,
        decision: &SaveDecision,
    ) -> io::Result<SavedBody> {
        let mut state = decision.lock();
        if !matches!(*state, SaveState::Undecided) {
            return Err(io::Error::other("the download was cancelled"));
        }
        if with_digest && let Some(path) = file.temporary_path() {
            let mut digest = Sha256::new();
            io::copy(&mut File::open(path)?, &mut digest)?;
            info.sha256 = Some(format!("{:x}", digest.finalize()));
        }
        let body = self.0.give_name(file, info)?;
        *state = SaveState::Saved(body.clone());
        Ok(body)
    }
}

impl Shared {
    fn append_to_manifest(&self, line: &ManifestLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut manifest = lock(&self.manifest);
        manifest.append(&text);
        manifest.flush()
    }

    /// Adds a file to the manifest, and renames it to the first free name or to the name from an earlier run.
    fn give_name(&self, mut file: CompleteFile, info: BodyInfo) -> io::Result<SavedBody> {
        let invalid = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
        let specified = info.output.as_deref().map(relative_path);
        let has_own_names = info.output.is_some() || !self.template.is_index_only();
        let name = match specified.transpose().map_err(invalid)? {
            Some(name) => name,
            None => self.template.render(&NameFields {
                index: info.index,
                id: info.id.as_deref(),
                url: &info.url,
                content_type: info.content_type.as_deref(),
            }),
        };
        let name = lock(&self.taken).create_directories(&self.path, &name)?;
        let url = redacted(&info.url);
        let own = self.own_names.get(&info.index);
        let own =
            own.filter(|own| own.url == url && unnumbered(&own.file).0 == unnumbered(&name).0);
        let mut line = ManifestLine {
            index: info.index,
            url,
            id: info.id,
            file: String::new(),
            bytes: info.bytes,
            sha256: info.sha256,
            content_type: info.content_type,
        };
        if let Some(own) = own {
            line.file.clone_from(&own.file);
            self.append_to_manifest(&line)?;
            file.persist_to(&self.path.join(&line.file))?;
        } else {
            loop {
                line.file = match has_own_names {
                    true => lock(&self.taken).take(&self.path, &name),
                    false => numbered(&name, self.first_free(&name)),
                };
                let path = self.path.join(&line.file);
                if fs::symlink_metadata(&path).is_ok() {
                    continue;
                }
                // Comes before the rename, so that a later run knows to which URL the file belongs.
                self.append_to_manifest(&line)?;
                if file.persist_new(&path)? {
                    break;
                }
            }
        }
        Ok(SavedBody {
            file: line.file,
            sha256: line.sha256,
        })
    }

    /// Returns the first number for which no file has the numbered name.
    fn first_free(&self, name: &str) -> usize {
        let is_free =
            |number: &usize| fs::symlink_metadata(self.path.join(numbered(name, *number))).is_err();
        (1..).find(is_free).unwrap_or(1)
    }
}

/// The valid lines of a manifest: the last line of each index and of each file.
#[derive(Default)]
struct ManifestContents {
    by_index: BTreeMap<usize, ManifestLine>,
    index_of_file: HashMap<String, usize>,
    /// The length of all complete lines.
    len: u64,
}

impl ManifestContents {
    fn add(&mut self, line: ManifestLine) {
        let index = line.index;
        let previous = self.index_of_file.insert(line.file.clone(), index);
        if let Some(previous) = previous.filter(|previous| *previous != index) {
            self.by_index.remove(&previous);
        }
        self.by_index.insert(index, line);
    }
}

/// Names that are taken. Compares names in lower case, because some file systems ignore the case. Keeps only
/// hashes of the names, to save memory.
#[derive(Default)]
struct TakenNames {
    names: HashSet<u64>,
    /// The first number that may be free, for each taken name.
    next_numbers: HashMap<u64, usize>,
    /// The path of each directory.
    directories: HashMap<u64, String>,
    listed_directories: HashSet<String>,
}

impl TakenNames {
    /// Takes the name, with a number if it is not free.
    fn take(&mut self, root: &Path, name: &str) -> String {
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        self.list(root, directory);
        if self.insert(name) {
            return name.to_owned();
        }
        let key = lower_case_hash(name);
        let mut number = self.next_numbers.get(&key).copied().unwrap_or(2);
        loop {
            let candidate = numbered(name, number);
            number += 1;
            if self.insert(&candidate) {
                self.next_numbers.insert(key, number);
                return candidate;
            }
        }
    }

    /// Adds a name. Returns `false` if it is taken.
    fn insert(&mut self, path: &str) -> bool {
        let (name, number) = unnumbered(path);
        if number > 1 {
            let next = self.next_numbers.entry(lower_case_hash(&name)).or_insert(2);
            // A gap in the numbers is not used.
            *next = (*next).max(number + 1);
        }
        self.names.insert(lower_case_hash(path))
    }

    /// Creates the directories of a relative path, and returns the path. Adds a number to the name of a directory
    /// if a file, a symbolic link, or a directory with another case already has this name. A symbolic link could
    /// lead out of `root`.
    fn create_directories(&mut self, root: &Path, path: &str) -> io::Result<String> {
        let Some((directories, name)) = path.rsplit_once('/') else {
            return Ok(path.to_owned());
        };
        let mut created = String::new();
        for directory in directories.split('/') {
            self.list(root, created.trim_end_matches('/'));
            let candidates = (1..).map(|n| format!("{created}{}", numbered(directory, n)));
            for candidate in candidates {
                if self.take_directory(root, &candidate)? {
                    created = candidate + "/";
                    break;
                }
            }
        }
        Ok(created + name)
    }

    /// Creates a directory, or uses an existing one. Returns `false` if the name is taken.
    fn take_directory(&mut self, root: &Path, path: &str) -> io::Result<bool> {
        if let Some(existing) = self.directories.get(&lower_case_hash(path)) {
            return Ok(existing == path);
        }
        if !self.insert(path) {
            return Ok(false);
        }
        let created = fs::create_dir(root.join(path));
        let is_directory = match created {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => fs::symlink_metadata(root.join(path))?.is_dir(),
            Ok(()) => true,
        };
        if is_directory {
            self.directories
                .insert(lower_case_hash(path), path.to_owned());
        }
        Ok(is_directory)
    }

    /// Adds the names in a directory, on the first call for the directory. Ignores a directory that cannot be read,
    /// because `persist_new` replaces no file anyway.
    fn list(&mut self, root: &Path, directory: &str) {
        if !self.listed_directories.insert(directory.to_owned()) {
            return;
        }
        for entry in fs::read_dir(root.join(directory))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match directory {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            self.insert(&path);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.directories.insert(lower_case_hash(&path), path);
            }
        }
    }
}

fn lower_case_hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

/// Deletes the temporary files of runs that were killed, and returns their number. If `is_resumed` is true, keeps
/// the files that a download can continue.
fn remove_temporary_files(directory: &Path, is_resumed: bool) -> io::Result<usize> {
    PartialFile::remove_abandoned(directory, |name| {
        let name = name.to_str().unwrap_or_default();
        let index = name
            .strip_prefix(TEMPORARY)
            .and_then(|name| name.strip_suffix(".part"));
        let is_index = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_resumed && index.is_some_and(is_index)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
