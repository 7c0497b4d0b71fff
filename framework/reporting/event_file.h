#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "casdm/value.h"

namespace casdm {

/// TensorBoard's event file of one process, beside a run's metrics.jsonl: events.out.tfevents.<seconds>.<host>.<pid>.
/// Its steps are images seen. A run that is resumed or starts over gets another file, which marks later steps in
/// earlier files as void.
///
/// The file is created by the first call that writes. An event that cannot be written completely is removed again.
/// Every function throws Error with the file's name.
class EventFile {
 public:
  /// @param resumed_at  images at which an earlier process left off; 0: it starts from nothing
  /// @param config      the experiment, shown as text
  EventFile(std::filesystem::path folder, std::int64_t resumed_at, std::string config);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// The finite numbers of a line of metrics.jsonl as scalars, "loss/eps", "loss/eps/by_t/1", and its histograms,
  /// "statistic/gate/histogram".
  void add_line(const Value& line);

  void add_image(const std::string& tag, std::int64_t images, std::string_view png);

 private:
  void write(std::int64_t images, const std::string& content);
  void open(std::int64_t images);

  std::filesystem::path folder_;
  std::filesystem::path path_;
  std::int64_t resumed_at_;
  std::string config_;
  int descriptor_ = -1;
};

/// Whether the file has such a name, and begins as this program begins one.
bool is_event_file_of_ours(const std::filesystem::path& path);

/// `data` as TensorFlow's record: length, checksum of the length, data, checksum of the data; both checksums are
/// CRC-32C, rotated and offset.
std::string event_record(std::string_view data);

}  // namespace casdm
