#include "framework/loading/plugin_host.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/dll/shared_library.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "casdm/elf_note.h"
#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/text.h"
#include "framework/loading/child_process.h"
#include "framework/loading/crash_message.h"
#include "framework/loading/dependencies.h"
#include "framework/loading/global_state.h"
#include "framework/loading/load_record.h"
#include "framework/loading/lock.h"
#include "framework/loading/origins.h"
#include "framework/loading/plugin_call.h"
#include "framework/loading/trusted_path.h"
#include "framework/support/component_name.h"
#include "framework/support/exception_message.h"

namespace casdm {

namespace {

namespace dll = boost::dll;

constexpr const char* kLoading = "load";
constexpr double kLongestTrial = 60;  // seconds; a network with many parameters needs some to initialise

double longest_trial() {
  const char* given = std::getenv("CASDM_PROBE_TIMEOUT");
  const double seconds = given != nullptr ? std::atof(given) : 0;
  return seconds > 0 ? seconds : kLongestTrial;
}

std::string trimmed(const std::string& text) { return text.substr(0, text.find_last_not_of(" \n") + 1); }

/// Loads with immediate binding and local symbols, and leaks the handle: a plugin is never closed.
const dll::shared_library& open_forever(const std::filesystem::path& path) {
  // dlopen is declared not to throw, so where an exception of a library's static initialisers ends up would depend on
  // how the calling code was compiled. A function pointer has no such declaration, so the exception arrives here.
  void* (*const volatile load)(const char*, int) = ::dlopen;
  try {
    load(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    return *new dll::shared_library(path, dll::load_mode::rtld_now | dll::load_mode::rtld_local);
  } catch (const std::exception& error) {
    throw PluginError(text(path.string(), " cannot be loaded: ", explain_load_failure(path, error.what())));
  }
}

const casdm_plugin& entry_of(const dll::shared_library& library, const std::filesystem::path& path) {
  if (!library.has("casdm_plugin_entry")) throw PluginError(text(path.string(), " exports no casdm_plugin_entry"));
  const casdm_plugin* entry = library.get<const casdm_plugin*()>("casdm_plugin_entry")();
  if (entry == nullptr || entry->size < sizeof(casdm_plugin) || entry->layout != CASDM_PLUGIN_LAYOUT) {
    throw PluginError(text(path.string(), " has an entry of an unknown layout; rebuild it with this SDK"));
  }
  const std::string difference = compare_stamps(entry->stamp, host_stamp());
  if (!difference.empty()) throw PluginError(text(path.string(), " was built for another host:\n", difference));
  return *entry;
}

/// An open file, to detect whether it is replaced while it is checked and loaded.
class HeldFile {
 public:
  explicit HeldFile(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {
    if (descriptor_ < 0) throw PluginError(text(path.string(), " cannot be read: ", std::strerror(errno)));
  }
  ~HeldFile() { ::close(descriptor_); }
  HeldFile(const HeldFile&) = delete;
  HeldFile& operator=(const HeldFile&) = delete;

  /// Whether the path still leads to this file.
  bool is_there() const {
    struct stat held {};
    struct stat there {};
    return ::fstat(descriptor_, &held) == 0 && ::stat(path_.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
           held.st_ino == there.st_ino && held.st_size == there.st_size &&
           held.st_mtim.tv_sec == there.st_mtim.tv_sec && held.st_mtim.tv_nsec == there.st_mtim.tv_nsec;
  }

 private:
  const std::filesystem::path& path_;
  int descriptor_;
};

/// Remembers what the user has named.
void take_consent(const FoundPlugin& plugin) {
  require_consent(plugin);
  if (plugin.origin == kConfigOrigin || plugin.origin == kCommandOrigin) allow(plugin.path);
}

/// Loads exactly the library that the catalog found, the lock allows and the user wants. After the last check of the
/// path, only root and the user can change where it leads; if the user replaces the file meanwhile, that is noticed.
const dll::shared_library& open_checked(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock) {
  const HeldFile file(plugin.path);
  if (const std::string problem = lock_problem(plugin, lock); !problem.empty()) fail_locked({problem});
  take_consent(plugin);
  const std::string problem = distrust(plugin.path);
  if (!problem.empty()) throw PluginError(text(plugin.path.string(), " cannot be used: ", problem));
  const std::optional<ElfNote> note = read_elf_note(plugin.path);
  const bool is_found = note && note->build_id == plugin.build_id;
  if (is_found && file.is_there()) {
    const dll::shared_library& library = open_forever(plugin.path);
    if (file.is_there()) return library;
  }
  throw PluginError(text(plugin.path.string(), " was replaced while it was loaded; run the command again"));
}

/// Loads the library into this process and compares what its code declares with its note.
PluginDescription load_here(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock) {
  PluginDescription description;
  try {
    {
      const RunningComponent running(immortal(plugin.description.info.id));
      const dll::shared_library& library = open_checked(plugin, lock);
      remember_code(library.native(),
                    immortal(printable(text(plugin.description.info.id, " (", plugin.path.string(), ")"))),
                    plugin.origin == kInstalledOrigin);
      description = describe_plugin(entry_of(library, plugin.path));
    }
    require_unchanged_state();
  } catch (const PluginError&) {
    throw;
  } catch (const std::exception& error) {
    throw PluginError(text(plugin.path.string(), " cannot be loaded: it threw: ", exception_message(error)));
  } catch (...) {
    throw PluginError(text(plugin.path.string(), " cannot be loaded: it threw ", current_exception_type()));
  }
  if (to_json(description) != to_json(plugin.description)) {
    throw PluginError(text(plugin.path.string(), " declares other components in its code than in its note; build it ",
                           "with casdm_add_plugin, which writes the note"));
  }
  return description;
}

/// Runs `work`, code of the plugin, in a child process; returns the message of the exception it threw, if any. If the
/// process crashed or hung, throws PluginError; a crash of its own is recorded.
std::string try_in_child_process(const FoundPlugin& plugin, const std::string& what,
                                 const std::function<void()>& work) {
  const ChildResult result = run_in_child_process(
      [&](std::string& message) {
        at::set_num_threads(1);
        try {
          work();
        } catch (const std::exception& error) {
          message = exception_message(error);
        } catch (...) {
          message = "it threw " + current_exception_type();
        }
        return 0;
      },
      longest_trial());
  if (result.end == ChildResult::End::returned) return result.message;
  const std::string crash = text("it ", result.description, " while ", what);
  // These signals were meant for the process, not caused by the plugin; and on a busy machine anything may take too
  // long.
  const bool is_of_plugin = result.end == ChildResult::End::died && result.signal != SIGKILL &&
                            result.signal != SIGTERM && result.signal != SIGINT;
  if (is_of_plugin) LoadRecord(plugin.build_id).set_crash(crash);
  const char* advice = result.end == ChildResult::End::timed_out
                           ? "; set CASDM_PROBE_TIMEOUT to more seconds if the machine is busy"
                           : "";
  throw PluginError(text(plugin.path.string(), " cannot be used: ", crash, ", in a child process", advice,
                         result.err.empty() ? "" : "; its last words:\n" + trimmed(result.err)));
}

}  // namespace

PluginHost::PluginHost(PluginCatalog catalog, std::vector<LockedPlugin> lock, Probing probing)
    : catalog_(std::move(catalog)), lock_(std::move(lock)), is_probing_(probing == Probing::on) {}

PluginHost::~PluginHost() = default;

std::vector<UsedPlugin> PluginHost::used() const {
  std::vector<UsedPlugin> result;
  for (const FoundPlugin& plugin : catalog_.plugins()) {
    if (!loaded_.contains(plugin.path)) continue;
    result.push_back({plugin.description.info.id, plugin.description.info.version, plugin.build_id});
  }
  return result;
}

void PluginHost::try_loading(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock) {
  const std::string failure = try_in_child_process(plugin, "it was being loaded", [&] { load_here(plugin, lock); });
  if (!failure.empty()) throw PluginError(failure);
}

const PluginDescription& PluginHost::load(const FoundPlugin& plugin) const {
  const auto known = loaded_.find(plugin.path);
  if (known != loaded_.end()) return known->second;
  LoadRecord record(plugin.build_id);
  if (is_probing_ && !record.is_good(kLoading)) {
    try_loading(plugin, lock_);
    PluginDescription description = load_here(plugin, lock_);
    record.add_good({kLoading});
    return loaded_.emplace(plugin.path, std::move(description)).first->second;
  }
  return loaded_.emplace(plugin.path, load_here(plugin, lock_)).first->second;
}

void PluginHost::try_making(const FoundPlugin& plugin, std::string_view kind, const ComponentConfig& config,
                            const void* spec) const {
  const std::string component = text(kind, "/", component_name(config.type));
  if (LoadRecord(plugin.build_id).is_good(component)) return;
  // An exception is ignored here: it is thrown again when the component is created in this process.
  try_in_child_process(plugin, text("the ", kind, " '", config.type, "' was being created"), [&] {
    is_probing_ = false;
    make_any(kind, config, spec);
    for (const auto& [build_id, made] : made_) LoadRecord(build_id).add_good({made});
  });
}

std::shared_ptr<void> PluginHost::make_any(std::string_view kind, const ComponentConfig& config,
                                           const void* spec) const {
  const FoundPlugin& plugin = catalog_.owner(kind, config.type);
  load(plugin);
  if (is_probing_) try_making(plugin, kind, config, spec);
  std::shared_ptr<void> component = make_here(plugin, kind, config, spec);
  if (!is_probing_) made_.emplace_back(plugin.build_id, text(kind, "/", component_name(config.type)));
  return component;
}

std::shared_ptr<void> PluginHost::make_here(const FoundPlugin& plugin, std::string_view kind,
                                            const ComponentConfig& config, const void* spec) const {
  const ComponentEntry* component = load(plugin).find(kind, component_name(config.type));
  if (component == nullptr || component->make == nullptr) {
    throw PluginError(
        text(plugin.path.string(), " cannot create the ", kind, " '", config.type, "' that its note lists"));
  }
  try {
    std::shared_ptr<void> made;
    {
      const RunningComponent running(immortal(config.type));
      made = component->make(config.table, spec);
    }
    require_unchanged_state();
    return made;
  } catch (...) {
    throw_attributed(config, "could not be created");
  }
}

}  // namespace casdm
