#include "framework/reporting/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <regex>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/reporting/histogram.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kPngSize = 16;  // offset of a PNG's width and height, four bytes each

/// The numbers of fields in tensorflow/core/util/event.proto, framework/summary.proto and framework/tensor.proto.
namespace field {
constexpr int kEventTime = 1, kEventStep = 2, kEventVersion = 3, kEventSummary = 5, kEventSession = 7;
constexpr int kSessionStatus = 1, kSessionStart = 1;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1, kValueScalar = 2, kValueImage = 4, kValueHistogram = 5, kValueTensor = 8,
              kValueMetadata = 9;
constexpr int kHistogramLow = 1, kHistogramHigh = 2, kHistogramCount = 3, kHistogramSum = 4, kHistogramSquares = 5,
              kHistogramLimits = 6, kHistogramBuckets = 7;
constexpr int kImageHeight = 1, kImageWidth = 2, kImageColours = 3, kImagePng = 4;
constexpr int kMetadataPlugin = 1, kPluginName = 1;
constexpr int kTensorType = 1, kTensorString = 8, kTypeString = 7;
}  // namespace field

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));  // little-endian, as on x86-64
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

// The wire types of Protocol Buffers: 0 varint, 1 eight bytes, 2 a length and bytes, 5 four bytes.
std::string key(int number, int wire_type) { return varint(static_cast<std::uint64_t>(number << 3 | wire_type)); }
std::string integer_field(int number, std::int64_t value) {
  return key(number, 0) + varint(static_cast<std::uint64_t>(value));
}
std::string double_field(int number, double value) { return key(number, 1) + little_endian(value); }
std::string float_field(int number, float value) { return key(number, 5) + little_endian(value); }
std::string bytes_field(int number, std::string_view value) {
  return key(number, 2) + varint(value.size()) + std::string(value);
}

std::string scalar(const std::string& tag, double value) {
  return bytes_field(field::kSummaryValue,
                     bytes_field(field::kValueTag, tag) + float_field(field::kValueScalar, static_cast<float>(value)));
}

std::string text_value(const std::string& tag, const std::string& content) {
  const std::string tensor =
      integer_field(field::kTensorType, field::kTypeString) + bytes_field(field::kTensorString, content);
  const std::string metadata = bytes_field(field::kMetadataPlugin, bytes_field(field::kPluginName, "text"));
  return bytes_field(field::kSummaryValue, bytes_field(field::kValueTag, tag) +
                                               bytes_field(field::kValueTensor, tensor) +
                                               bytes_field(field::kValueMetadata, metadata));
}

/// The counts of equal bins of [0, 1]; empty if all are 0. The sums assume values at the bins' midpoints.
std::string histogram(const std::string& tag, const std::vector<double>& counts) {
  const auto width = 1 / static_cast<double>(counts.size());
  std::string limits, buckets;
  double count = 0, sum = 0, squares = 0, low = 1, high = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double left = static_cast<double>(i) * width, middle = left + width / 2;
    limits += little_endian(left + width);
    buckets += little_endian(counts[i]);
    if (counts[i] == 0) continue;
    count += counts[i];
    sum += counts[i] * middle;
    squares += counts[i] * middle * middle;
    low = std::min(low, left);
    high = left + width;
  }
  if (count == 0) return "";
  const std::string content = double_field(field::kHistogramLow, low) + double_field(field::kHistogramHigh, high) +
                              double_field(field::kHistogramCount, count) + double_field(field::kHistogramSum, sum) +
                              double_field(field::kHistogramSquares, squares) +
                              bytes_field(field::kHistogramLimits, limits) +
                              bytes_field(field::kHistogramBuckets, buckets);
  return bytes_field(field::kSummaryValue,
                     bytes_field(field::kValueTag, tag) + bytes_field(field::kValueHistogram, content));
}

/// The histograms of each quarter of t, and of all t.
std::string histograms(const std::string& tag, const Value& quarters) {
  std::string result;
  std::vector<double> all(kHistogramBins);
  for (std::size_t i = 0; i < quarters.as_array().size(); ++i) {
    std::vector<double> counts;
    for (const Value& count : quarters.as_array()[i].as_array()) counts.push_back(count.as_number());
    result += histogram(text(tag, "/by_t/", i + 1), counts);
    std::transform(counts.begin(), counts.end(), all.begin(), all.begin(), std::plus<>());
  }
  return histogram(tag, all) + result;
}

/// The finite numbers in `value` and its histograms, at any depth.
std::string scalars(const Value& value, const std::string& tag) {
  if (value.is_number()) return std::isfinite(value.as_number()) ? scalar(tag, value.as_number()) : "";
  std::string result;
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      result += scalars(value.as_array()[i], text(tag, "/", i + 1));
    }
  }
  if (!value.is_table()) return result;
  for (const auto& [name, member] : value.as_table()) {
    if (name == kHistogram) {
      result += histograms(text(tag, "/", name), member);
      continue;
    }
    result += scalars(member, name == "mean" || name == "value" ? tag : text(tag, tag.empty() ? "" : "/", name));
  }
  return result;
}

constexpr const char* kVersion = "brain.Event:2";
constexpr const char* kExperiment = "experiment";  // tag of the text in each file

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::uint32_t masked_checksum(std::string_view data) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;  // Castagnoli
  crc.process_bytes(data.data(), data.size());
  const std::uint32_t value = crc.checksum();
  return ((value >> 15) | (value << 17)) + 0xA282EAD8U;
}

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

/// Indented, so that Markdown shows it literally.
std::string as_code(const std::string& content) {
  std::string result = "    ";
  for (const char c : content) result += c == '\n' ? std::string("\n    ") : std::string(1, c);
  return result;
}

constexpr std::string_view kNameStart = "events.out.tfevents.";

/// The number in the name of an event file; 0 if it is no time of this era.
std::int64_t number_in(const fs::path& path) {
  constexpr std::size_t digits = 10;
  const std::string name = path.filename().string();
  const std::size_t end = name.find('.', kNameStart.size());
  const std::string number = name.substr(kNameStart.size(), end - kNameStart.size());
  return number.size() <= digits ? std::stoll(number) : 0;
}

}  // namespace

bool is_event_file_of_ours(const fs::path& path) {
  static const std::regex form(R"(events\.out\.tfevents\.[0-9]+\..+\.[0-9]+)");
  std::error_code ignored;
  if (!std::regex_match(path.filename().string(), form) || !fs::is_regular_file(path, ignored)) return false;
  std::string start(1024, '\0');
  std::ifstream(path, std::ios::binary).read(start.data(), static_cast<std::streamsize>(start.size()));
  return start.find(kVersion) < 64 && start.find(kExperiment) != std::string::npos;
}

std::string event_record(std::string_view data) {
  const std::string length = little_endian(static_cast<std::uint64_t>(data.size()));
  return text(length, little_endian(masked_checksum(length)), data, little_endian(masked_checksum(data)));
}

EventFile::EventFile(fs::path folder, std::int64_t resumed_at, std::string config)
    : folder_(std::move(folder)), resumed_at_(resumed_at), config_(std::move(config)) {}

EventFile::~EventFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void EventFile::open(std::int64_t images) {
  // TensorBoard reads the files in the order of their names, and the clock may have been set back.
  auto number = static_cast<std::int64_t>(unix_time());
  bool has_earlier = false;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, ignored)) {
    if (!is_event_file_of_ours(entry.path())) continue;
    has_earlier = true;
    number = std::max(number, number_in(entry.path()) + 1);
  }
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  path_ = folder_ / text(kNameStart, number, ".", host, ".", ::getpid());
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw Error(text(path_.string(), " cannot be written: ", std::strerror(errno)));
  write(0, bytes_field(field::kEventVersion, kVersion));
  if (resumed_at_ > 0 || has_earlier) {
    write(resumed_at_ + 1,
          bytes_field(field::kEventSession, integer_field(field::kSessionStatus, field::kSessionStart)));
  }
  write(images, bytes_field(field::kEventSummary, text_value(kExperiment, as_code(config_))));
}

void EventFile::write(std::int64_t images, const std::string& content) {
  const std::string record =
      event_record(double_field(field::kEventTime, unix_time()) + integer_field(field::kEventStep, images) + content);
  const off_t before = ::lseek(descriptor_, 0, SEEK_END);
  const ssize_t written = ::write(descriptor_, record.data(), record.size());
  if (written == static_cast<ssize_t>(record.size())) return;
  const int reason = written < 0 ? errno : ENOSPC;
  // If this fails as well, TensorBoard stops reading at the incomplete record.
  [[maybe_unused]] const int cut = ::ftruncate(descriptor_, before);
  throw Error(text(path_.string(), " cannot be written: ", std::strerror(reason)));
}

void EventFile::add_line(const Value& line) {
  const Value* images = line.find("images");
  if (images == nullptr || !images->is_integer()) return;
  std::string summary;
  for (const auto& [name, value] : line.as_table()) {
    if (name != "images") summary += scalars(value, name);
  }
  if (descriptor_ < 0) open(images->as_integer());
  write(images->as_integer(), bytes_field(field::kEventSummary, summary));
}

void EventFile::add_image(const std::string& tag, std::int64_t images, std::string_view png) {
  if (png.size() < kPngSize + 8) throw Error(text("the image '", tag, "' is not a PNG"));
  const std::string image = integer_field(field::kImageHeight, big_endian(png.substr(kPngSize + 4, 4))) +
                            integer_field(field::kImageWidth, big_endian(png.substr(kPngSize, 4))) +
                            integer_field(field::kImageColours, 3) + bytes_field(field::kImagePng, png);
  if (descriptor_ < 0) open(images);
  write(images, bytes_field(field::kEventSummary,
                            bytes_field(field::kSummaryValue,
                                        bytes_field(field::kValueTag, tag) + bytes_field(field::kValueImage, image))));
}

}  // namespace casdm
