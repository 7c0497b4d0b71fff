#include "framework/interchange/torch_file.h"

#include <ATen/ops/as_strided.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <map>
#include <new>
#include <optional>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/interchange/torch_archive.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxDepth = 8;                    // of nested dicts in which states are searched
constexpr std::size_t kMaxVisited = 1'000'000;  // dicts may contain each other in a cycle
constexpr std::size_t kMostMixtures = 100;      // that are told apart by name
constexpr std::size_t kMaxSharing = 16;         // how many tensors may share a storage, on average

struct Candidate {
  std::string key;
  const PickledDict* dict;
};

/// Whether it is a dict that contains only tensors.
bool is_state(const PickledDict& dict) {
  if (dict.items.empty()) return false;
  for (const auto& [key, value] : dict.items) {
    if (key->as<std::string>() == nullptr || value->as<PickledTensor>() == nullptr) return false;
  }
  return true;
}

/// A dict of tensors and others, which is no state: "its top level holds tensors and "step", which is an int".
struct Mixture {
  std::string key;
  std::string reason;
};

bool is_tensor_with_sides(const PickledNode& node) {
  const auto* tensor = node.as<PickledTensor>();
  return tensor != nullptr && !tensor->sizes.empty();
}

/// What else `dict` holds beside tensors; empty: it has no tensors but numbers, such as a loss.
std::string others_in(const PickledDict& dict, const std::string& key) {
  const auto& items = dict.items;
  if (std::none_of(items.begin(), items.end(), [](const auto& item) { return is_tensor_with_sides(*item.second); })) {
    return "";
  }
  const auto other = std::find_if(items.begin(), items.end(), [](const auto& item) {
    return item.first->template as<std::string>() == nullptr || item.second->template as<PickledTensor>() == nullptr;
  });
  const auto* name = other->first->as<std::string>();
  return text(key.empty() ? "its top level" : quoted(key), " holds tensors and ",
              name == nullptr ? "a key that is no name" : text(quoted(*name), ", which is ", describe(*other->second)));
}

/// Finds the states in `node` with their key paths.
class StateFinder {
 public:
  explicit StateFinder(const PickledNode& root) { visit(root, "", 0); }

  const std::vector<Candidate>& found() const { return found_; }
  const std::vector<Mixture>& mixtures() const { return mixtures_; }

 private:
  void visit(const PickledNode& node, const std::string& key, int depth) {
    const auto* dict = node.as<PickledDict>();
    if (dict == nullptr || depth > kMaxDepth) return;
    if (is_state(*dict)) {
      found_.push_back({key, dict});
      return;
    }
    if (mixtures_.size() < kMostMixtures) {
      if (std::string reason = others_in(*dict, key); !reason.empty()) mixtures_.push_back({key, std::move(reason)});
    }
    for (const auto& [name, value] : dict->items) {
      if (++visited_ > kMaxVisited) throw Error("nests its dicts too much");
      if (const auto* word = name->as<std::string>()) visit(*value, key.empty() ? *word : key + "." + *word, depth + 1);
    }
  }

  std::vector<Candidate> found_;
  std::vector<Mixture> mixtures_;
  std::size_t visited_ = 0;
};

Candidate choose(const PickledNode& root, const std::string& key) {
  const StateFinder states(root);
  const std::vector<Candidate>& found = states.found();
  const std::vector<Mixture>& mixtures = states.mixtures();
  std::vector<std::string> names;
  for (const Candidate& candidate : found) {
    if (candidate.key == key || (key.empty() && found.size() == 1 && mixtures.empty())) return candidate;
    names.push_back(text(quoted(candidate.key), " (", candidate.dict->items.size(), " tensors)"));
  }
  const std::string choice = text("; choose with --key: ", join(names, ", "));
  const auto asked = std::find_if(mixtures.begin(), mixtures.end(), [&](const Mixture& m) { return m.key == key; });
  const std::string alone =
      "save the tensors alone, as in torch.save({k: v for k, v in state.items() if torch.is_tensor(v)}, FILE)";
  if (found.empty() && mixtures.empty()) throw Error(text("does not hold a dict of tensors: it is ", describe(root)));
  if (found.empty() || (!key.empty() && asked != mixtures.end())) {
    const Mixture& mixture = asked != mixtures.end() ? *asked : mixtures.front();
    throw ConfigError(text("cannot be read as weights: ", mixture.reason, "; ", alone,
                           found.empty() ? "" : text(", or"), found.empty() ? "" : choice.substr(1)));
  }
  if (key.empty() && !mixtures.empty()) {
    throw ConfigError(
        text("may hold other weights than those found: ", mixtures.front().reason, choice, ", or ", alone));
  }
  throw ConfigError(text(key.empty() ? "holds several states" : text("holds no state ", quoted(key)), choice));
}

/// A view of `storage` for the tensor. Throws Error if it reaches beyond the storage or is larger than it.
Tensor view_of(const PickledTensor& tensor, const Tensor& storage, const std::string& name) {
  const auto fail = [&](const char* why) { throw Error(text("is damaged: tensor ", quoted(name), " ", why)); };
  if (tensor.sizes.size() != tensor.strides.size()) fail("does not have as many strides as sizes");
  const std::int64_t most = storage.numel();
  std::int64_t count = 1;
  std::int64_t extent = 1;
  bool is_too_large = false;
  for (const std::int64_t size : tensor.sizes) {
    if (size < 0) fail("has a negative size");
    if (size == 0) count = 0;
    if (size > 0) is_too_large = is_too_large || __builtin_mul_overflow(extent, size, &extent);
  }
  if (count == 0 && is_too_large) fail("has a shape too large for any tensor");
  for (const std::int64_t size : tensor.sizes) {
    if (count > 0 && count > most / size) {
      const bool is_expanded = std::find(tensor.strides.begin(), tensor.strides.end(), 0) != tensor.strides.end();
      if (is_expanded) {
        throw Error(
            text("holds tensor ", quoted(name), " as an expanded view; save a copy of it: tensor.contiguous()"));
      }
      fail("is larger than its storage");
    }
    count *= size;
  }
  if (tensor.offset < 0 || tensor.storage.offset < 0 || tensor.offset > most - tensor.storage.offset) {
    fail("begins outside its storage");
  }
  const std::int64_t offset = tensor.offset + tensor.storage.offset;
  std::int64_t last = offset;
  for (std::size_t i = 0; i < tensor.sizes.size() && count > 0; ++i) {
    const std::int64_t steps = tensor.sizes[i] - 1;
    if (tensor.strides[i] < 0) fail("has a negative stride");
    if (steps > 0 && tensor.strides[i] > (most - last) / steps) fail("leaves its storage");
    last += steps * tensor.strides[i];
  }
  if (count > 0 && last >= most) fail("leaves its storage");
  return count > 0 ? at::as_strided(storage, tensor.sizes, tensor.strides, offset)
                   : storage.narrow(0, 0, 0).view(tensor.sizes);
}

NamedTensors tensors_of(const PickledDict& state, TorchArchive& archive) {
  NamedTensors result;
  std::map<std::string, Tensor> storages;
  std::set<std::string> names;
  std::size_t stored = 0, viewed = 0;
  for (const auto& [key, value] : state.items) {
    const std::string& name = *key->as<std::string>();
    const PickledTensor& tensor = *value->as<PickledTensor>();
    if (!names.insert(name).second) throw Error(text("is damaged: it holds tensor ", quoted(name), " twice"));
    const PickledStorage& whole = archive.pickle().storages().at(tensor.storage.key);
    const auto [storage, is_new] = storages.try_emplace(whole.key);
    if (is_new) {
      storage->second = archive.load(whole);
      stored += storage->second.nbytes();
    }
    result.emplace_back(name, view_of(tensor, storage->second, name));
    viewed += result.back().second.nbytes();
  }
  if (viewed / kMaxSharing > stored)
    throw Error(text("has ", viewed, " bytes of tensors in ", stored, " bytes of storages"));
  return result;
}

std::unique_ptr<TorchArchive> open_archive(const fs::path& path) {
  switch (torch_format(path)) {
    case TorchFormat::zip:
      return open_torch_zip(path);
    case TorchFormat::legacy:
      return open_torch_legacy(path);
    case TorchFormat::none:
      break;
  }
  throw Error("was not written by torch.save");
}

}  // namespace

bool is_torch_file(const fs::path& path) { return torch_format(path) != TorchFormat::none; }

TorchState read_torch_state(const fs::path& path, const std::string& key) {
  try {
    const std::unique_ptr<TorchArchive> archive = open_archive(path);
    const Candidate chosen = choose(archive->pickle().root(), key);
    return {tensors_of(*chosen.dict, *archive), archive->format(), chosen.key};
  } catch (const ConfigError& error) {
    throw ConfigError(text(path.string(), " ", error.what()));
  } catch (const Error& error) {
    throw Error(text(path.string(), " ", error.what()));
  } catch (const c10::Error& error) {
    throw Error(text(path.string(), " is damaged: ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    throw Error(text(path.string(), " is damaged, or too large for this machine's memory"));
  } catch (const std::exception& error) {
    throw Error(text(path.string(), " is damaged: ", error.what()));
  }
}

}  // namespace casdm
