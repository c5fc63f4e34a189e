//! The directory of `gather --output`: a file for each body, and a manifest.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use inflight::backend::Runtime;
use inflight::download::{CompleteFile, PartialFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names::{NameFields, NameTemplate, numbered, relative_path};
use super::{Completion, OpenFiles};
use crate::exit::CliError;
use crate::journal::{Decision, EarlierRecords, for_each_line};
use crate::line_file::LineFile;
use crate::output::redacted;

/// The name of the manifest in the directory.
const MANIFEST: &str = "manifest.jsonl";

/// How the names of temporary files start.
const TEMPORARY: &str = ".inflight-";

/// A directory with a file for each body. Clones share the directory.
#[derive(Clone)]
pub(crate) struct OutputDirectory(Arc<Shared>);

struct Shared {
    path: PathBuf,
    template: NameTemplate,
    is_resumed: bool,
    manifest: Mutex<LineFile>,
    /// The names in the directory, in lower case, that are not only an index. Read at the first use.
    taken: OnceLock<Mutex<TakenNames>>,
    /// The names that an earlier run chose for URLs that this run fetches again.
    own_names: HashMap<usize, String>,
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
    /// Completes when all files are closed.
    pub(crate) completion: Completion,
    /// The URLs whose files are complete, according to the manifest.
    pub(crate) finished: BTreeMap<usize, String>,
}

/// What a name and an entry of the manifest are made of.
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

/// A line of the manifest. The last line of an index is the valid one.
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

/// A body that has its name.
#[derive(Debug, Clone)]
pub(crate) struct SavedBody {
    /// The path in the directory.
    pub(crate) file: String,
    pub(crate) sha256: Option<String>,
}

/// Decides whether a body gets its name before its download is cancelled. Clones share the decision.
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
    /// Prevents that the body gets its name later. Returns the body if it has its name already.
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
    /// Creates the directory if it does not exist, checks that it is writable, and deletes the temporary files
    /// that an earlier run left when it was killed.
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
            .and_then(|()| PartialFile::check_writable(&path.join("body")))
            .map_err(error)?;
        let manifest_path = path.join(MANIFEST);
        let Some(mut manifest) = LineFile::open(&manifest_path).map_err(error)? else {
            return Err(CliError::usage(format_args!(
                "another run is writing to {}: wait for its end, or use another directory",
                path.display()
            )));
        };
        remove_temporary_files(&path, is_resumed).map_err(error)?;
        let (mut finished, mut own_names, mut len) = (BTreeMap::new(), HashMap::new(), 0);
        for_each_line(
            manifest.file(),
            &manifest_path,
            |line: ManifestLine, bytes| {
                len += bytes as u64;
                let is_complete = match earlier {
                    Some(earlier) if earlier.decide(line.index, &line.url) == Decision::Fetch => {
                        false
                    }
                    None if is_resumed => {
                        let metadata = fs::symlink_metadata(path.join(&line.file));
                        metadata.is_ok_and(|file| file.is_file() && file.len() == line.bytes)
                    }
                    _ => return,
                };
                if is_complete {
                    own_names.remove(&line.index);
                    finished.insert(line.index, line.url);
                } else {
                    finished.remove(&line.index);
                    own_names.insert(line.index, line.file);
                }
            },
        )?;
        manifest.truncate(len).map_err(error)?;
        let (open_files, completion) = OpenFiles::new();
        let directory = Self(Arc::new(Shared {
            path,
            template,
            is_resumed,
            manifest: Mutex::new(manifest),
            taken: OnceLock::new(),
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

    /// Gives the complete file at the temporary path its name. Blocks the thread.
    pub(crate) fn save_resumed(
        &self,
        mut info: BodyInfo,
        with_digest: bool,
        decision: &SaveDecision,
    ) -> io::Result<SavedBody> {
        let path = self.temporary_path(info.index);
        if with_digest {
            let mut digest = Sha256::new();
            io::copy(&mut File::open(&path)?, &mut digest)?;
            info.sha256 = Some(format!("{:x}", digest.finalize()));
        }
        self.save(CompleteFile::from_path(path)?, info, decision)
    }

    /// Gives a complete file its name, and adds it to the manifest. Fails if the download was cancelled. Blocks
    /// the thread.
    pub(crate) fn save(
        &self,
        mut file: CompleteFile,
        info: BodyInfo,
        decision: &SaveDecision,
    ) -> io::Result<SavedBody> {
        let shared = &*self.0;
        let invalid = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
        let specified = info.output.as_deref().map(relative_path);
        let name = match specified.transpose().map_err(invalid)? {
            Some(name) => name,
            None => shared.template.render(&NameFields {
                index: info.index,
                id: info.id.as_deref(),
                url: &info.url,
                content_type: info.content_type.as_deref(),
            }),
        };
        let is_index = info.output.is_none() && shared.template.is_index_only();
        let taken = match is_index {
            true => None,
            false => Some(shared.taken_names()?),
        };
        let mut line = ManifestLine {
            index: info.index,
            url: redacted(&info.url),
            id: info.id,
            file: String::new(),
            bytes: info.bytes,
            sha256: info.sha256,
            content_type: info.content_type,
        };
        let mut state = decision.lock();
        if !matches!(*state, SaveState::Undecided) {
            return Err(io::Error::other("the download was cancelled"));
        }
        let own_name = shared.own_names.get(&line.index);
        for number in shared.first_number(taken, &name).. {
            line.file = create_directories(&shared.path, &numbered(&name, number))?;
            let path = shared.path.join(&line.file);
            let is_own = own_name == Some(&line.file);
            if !is_own {
                let is_free = taken.is_none_or(|taken| lock(taken).insert(&line.file));
                if !is_free || fs::symlink_metadata(&path).is_ok() {
                    continue;
                }
            }
            // Before the name, so that a later run knows whose file this is.
            shared.append_to_manifest(&line)?;
            match is_own {
                true => {
                    file.persist_to(&path)?;
                    break;
                }
                false if file.persist_new(&path)? => break,
                false => {}
            }
        }
        let body = SavedBody {
            file: line.file,
            sha256: line.sha256,
        };
        *state = SaveState::Saved(body.clone());
        Ok(body)
    }
}

impl Shared {
    fn append_to_manifest(&self, line: &ManifestLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        lock(&self.manifest).append(&text)
    }

    fn taken_names(&self) -> io::Result<&Mutex<TakenNames>> {
        if let Some(taken) = self.taken.get() {
            return Ok(taken);
        }
        let mut names = TakenNames::default();
        names.insert_directory(&self.path, "")?;
        Ok(self.taken.get_or_init(|| Mutex::new(names)))
    }

    /// Returns the first number that may be free for a name.
    fn first_number(&self, taken: Option<&Mutex<TakenNames>>, name: &str) -> usize {
        taken.map_or(1, |taken| lock(taken).first_number(name))
    }
}

/// Names in lower case, because some file systems ignore the case. The map has their hashes, and how often each
/// name was wanted.
#[derive(Default)]
struct TakenNames(HashMap<u64, usize>);

impl TakenNames {
    /// Adds a name. Returns `false` if it is taken.
    fn insert(&mut self, name: &str) -> bool {
        match self.0.entry(lower_case_hash(name)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(1);
                true
            }
        }
    }

    /// Returns the first number with which the name may be free.
    fn first_number(&mut self, name: &str) -> usize {
        match self.0.get_mut(&lower_case_hash(name)) {
            Some(number) => {
                *number += 1;
                *number
            }
            None => 1,
        }
    }

    /// Adds the names of all files in a directory.
    fn insert_directory(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.insert_directory(&entry.path(), &format!("{name}/"))?;
            } else {
                self.insert(&name);
            }
        }
        Ok(())
    }
}

fn lower_case_hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

/// Creates the directories of a relative path, and returns the path. Adds a number to the name of a directory
/// that exists as a file or as a symbolic link, which may lead out of the directory.
fn create_directories(root: &Path, path: &str) -> io::Result<String> {
    let Some((directories, name)) = path.rsplit_once('/') else {
        return Ok(path.to_owned());
    };
    let mut created = String::new();
    for directory in directories.split('/') {
        for number in 1.. {
            let candidate = format!("{created}{}", numbered(directory, number));
            let path = root.join(&candidate);
            let is_directory = match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => fs::symlink_metadata(&path)?.is_dir(),
                Ok(()) => true,
            };
            if is_directory {
                created = candidate + "/";
                break;
            }
        }
    }
    Ok(created + name)
}

/// Deletes the temporary files of runs that were killed. Keeps those that a download can continue if
/// `is_resumed`.
fn remove_temporary_files(directory: &Path, is_resumed: bool) -> io::Result<()> {
    let index_of = |name: &str| {
        let index = name.strip_prefix(TEMPORARY)?;
        let index = index.strip_suffix(".part").unwrap_or(index);
        index
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(())
    };
    PartialFile::remove_abandoned(directory, |name| {
        is_resumed && name.to_str().and_then(index_of).is_some()
    })?;
    // A complete body whose run was killed before the body got its name.
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_complete = name
            .to_str()
            .is_some_and(|name| index_of(name).is_some() && !name.ends_with(".part"));
        if is_complete && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
