#include "cifar_batches.h"

#include <algorithm>
#include <istream>
#include <map>
#include <streambuf>

#include "casdm/error.h"
#include "casdm/text.h"
#include "files.h"
#include "sdk/arrays/npz_reader.h"
#include "sdk/arrays/pickle.h"

namespace casdm::dataset_images {

namespace {

constexpr std::int64_t kSide = 32;
constexpr std::size_t kPlane = kSide * kSide;
constexpr std::size_t kPixels = 3 * kPlane;
constexpr std::string_view kBinary = ".bin";

/// Bytes in memory that can be read as a stream.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(const std::vector<std::uint8_t>& bytes) {
    char* first = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));
    setg(first, first, first + bytes.size());
  }
};

const PickledNode& entry_of(const PickledNode& root, const std::string& key) {
  const auto* dict = root.as<PickledDict>();
  if (dict == nullptr) throw Error(text("holds ", describe(root), "; expected a dict that has '", key, "'"));
  std::vector<std::string> keys;
  for (const auto& [name, value] : dict->items) {
    keys.push_back(string_of(*name, "a key"));
    if (keys.back() == key) return *value;
  }
  throw Error(text("holds no '", key, "'; it holds ", some_of(keys)));
}

/// "data_batch_1" of "cifar-10-batches-bin/data_batch_1.bin".
std::string_view batch_name(std::string_view name) {
  name = file_name(name);
  if (name.ends_with(kBinary)) name.remove_suffix(kBinary.size());
  return name;
}

}  // namespace

bool CifarBatches::is_batch(std::string_view name) const {
  return std::find(form_.batches.begin(), form_.batches.end(), batch_name(name)) != form_.batches.end();
}

void CifarBatches::hold(const std::string& source, std::size_t bytes) {
  held_ += bytes;
  if (held_ <= kMaxHeld) return;
  throw Error(text(source, " is not ", form_.name, ": its ", to_string(form_.split), " images take more than ",
                   kMaxHeld >> 20, " MiB"));
}

void CifarBatches::add(const std::string& source, std::string name, std::vector<std::uint8_t> bytes) {
  const bool is_binary = name.ends_with(kBinary);
  hold(source, bytes.size());
  try {
    Batch batch = is_binary ? binary_batch(std::move(bytes)) : python_batch(bytes);
    batch.name = name;
    batch.is_binary = is_binary;
    check_labels(batch);
    batches_.push_back(std::move(batch));
  } catch (const Error& error) {
    throw Error(text(source, ":", name, " ", error.what()));
  }
}

CifarBatches::Batch CifarBatches::binary_batch(std::vector<std::uint8_t> bytes) const {
  const std::size_t record = static_cast<std::size_t>(form_.label_bytes) + kPixels;
  if (bytes.empty() || bytes.size() % record != 0) {
    throw Error(text("is truncated or not a ", form_.name, " batch: it has ", bytes.size(),
                     " bytes, expected a multiple of ", record));
  }
  Batch batch{{}, true, std::move(bytes), {}, record, static_cast<std::size_t>(form_.label_bytes)};
  for (std::size_t at = static_cast<std::size_t>(form_.label_at); at < batch.bytes.size(); at += record) {
    batch.labels.push_back(batch.bytes[at]);
  }
  return batch;
}

CifarBatches::Batch CifarBatches::python_batch(const std::vector<std::uint8_t>& bytes) const {
  MemoryBuffer buffer(bytes);
  std::istream stream(&buffer);
  PickleSource source(stream, bytes.size(), kMaxHeld);
  const Pickle pickle(source, PickleNames::numpy);
  const PickledNode& data = entry_of(pickle.root(), "data");
  const auto* array = data.as<PickledArray>();
  if (array == nullptr) throw Error(text("holds ", describe(data), " as 'data'; expected an array"));
  const NpyHeader header{array->type, array->shape, array->is_fortran};
  const bool fits = header.type == "|u1" && !header.is_fortran && header.shape.size() == 2 && header.shape[0] > 0 &&
                    header.shape[1] == static_cast<std::int64_t>(kPixels) &&
                    array->bytes.size() == static_cast<std::size_t>(header.shape[0]) * kPixels;
  if (!fits) {
    throw Error(text("holds ", shown(header), " of ", array->bytes.size(), " bytes as 'data'; expected uint8 [N, ",
                     kPixels, "]"));
  }
  Batch batch{{}, false, {array->bytes.begin(), array->bytes.end()}, {}, kPixels, 0};
  for (const PickledNode* label : items_of(entry_of(pickle.root(), form_.label_key), "the labels")) {
    const auto* number = label->as<std::int64_t>();
    if (number == nullptr) throw Error(text("has ", describe(*label), " among its labels; expected whole numbers"));
    batch.labels.push_back(*number);
  }
  if (batch.size() != header.shape[0]) {
    throw Error(text("holds ", header.shape[0], " images and ", batch.size(), " labels"));
  }
  return batch;
}

void CifarBatches::check_labels(const Batch& batch) const {
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] >= 0 && batch.labels[i] < form_.classes) continue;
    throw Error(
        text("is damaged: record ", i, " has the label ", batch.labels[i], ", expected 0 to ", form_.classes - 1));
  }
}

void CifarBatches::finish(const std::string& source) {
  const bool has_binary = std::any_of(batches_.begin(), batches_.end(), [](const Batch& b) { return b.is_binary; });
  std::erase_if(batches_, [&](const Batch& batch) { return batch.is_binary != has_binary; });
  std::sort(batches_.begin(), batches_.end(), [](const Batch& a, const Batch& b) { return a.name < b.name; });
  std::map<std::string_view, const Batch*> seen;
  std::vector<std::string> found;
  for (const Batch& batch : batches_) {
    found.push_back(batch.name);
    const auto [first, is_new] = seen.emplace(file_name(batch.name), &batch);
    if (is_new) continue;
    throw Error(text(source, " holds ", first->first, " twice: ", first->second->name, " and ", batch.name));
  }
  std::vector<std::string> missing;
  for (const std::string& batch : form_.batches) {
    const std::string name = text(batch, has_binary ? kBinary : "");
    if (!batches_.empty() && !seen.contains(name)) missing.push_back(name);
  }
  if (missing.empty()) return;
  throw Error(text(source, " lacks ", join(missing, ", "), " of ", form_.name, "'s ", form_.batches.size(),
                   " training batches; it holds ", some_of(found)));
}

std::int64_t CifarBatches::size() const {
  std::int64_t records = 0;
  for (const Batch& batch : batches_) records += batch.size();
  return records;
}

std::vector<std::int64_t> CifarBatches::labels() const {
  std::vector<std::int64_t> all;
  for (const Batch& batch : batches_) all.insert(all.end(), batch.labels.begin(), batch.labels.end());
  return all;
}

CifarBatches::Record CifarBatches::record(std::int64_t index) const {
  std::int64_t number = index;
  for (const Batch& batch : batches_) {
    if (number >= 0 && number < batch.size()) return {&batch, static_cast<std::size_t>(number)};
    number -= batch.size();
  }
  throw Error(text(form_.name, " has no image ", index));
}

Example CifarBatches::get(std::int64_t index) const {
  const auto [batch, number] = record(index);
  const std::uint8_t* planes = batch->bytes.data() + batch->start + number * batch->stride;
  Image image{kSide, kSide, 3, std::vector<std::uint8_t>(kPixels)};
  for (std::size_t pixel = 0; pixel < kPlane; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) image.pixels[pixel * 3 + c] = planes[c * kPlane + pixel];
  }
  return {std::move(image), batch->labels[number]};
}

std::string CifarBatches::name(std::int64_t index) const {
  const auto [batch, number] = record(index);
  return text(batch->name, " record ", number);
}

std::string CifarBatches::key(std::int64_t index) const {
  const auto [batch, number] = record(index);
  return text(batch_name(batch->name), " record ", number);
}

}  // namespace casdm::dataset_images
