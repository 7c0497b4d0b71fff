#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace casdm {

/// What was noticed while images were read: which ones cannot be read and why, and remarks about others. Each image
/// counts once, however often it is read. Thread-safe.
class ReadingRecord {
 public:
  /// @param size      of the data set
  /// @param is_share  whether other processes read images of the data set that are not recorded here
  explicit ReadingRecord(std::int64_t size, bool is_share = false) : size_(size), is_share_(is_share) {}

  bool is_unreadable(std::int64_t index) const;

  /// Image `index`, named `name`, is left out because of `message`, which may begin with the name.
  void leave_out(std::int64_t index, const std::string& name, const std::string& message);

  /// @param message  follows "N of M images", or what stands for it of a share, and is the same for the same reason:
  ///                 "have an orientation that is not applied"
  void remark(std::int64_t index, const std::string& message);

  /// A line for each image that was left out since the last call.
  std::vector<std::string> take_warnings();

  /// Summary lines: "left out 3 of 100 images: 2 cannot be decoded: the file ends too early; 1 ...". Of a share: "left
  /// out 3 of the images that this process has read: ...". Only those that the last call did not return.
  std::vector<std::string> take_summary();

 private:
  std::string left_out() const;
  std::string of_images(std::size_t count) const;

  std::int64_t size_;
  bool is_share_;
  mutable std::mutex mutex_;
  std::set<std::int64_t> unreadable_;
  std::map<std::string, std::int64_t> reasons_;
  std::map<std::string, std::set<std::int64_t>> remarks_;
  std::vector<std::string> warnings_;
  std::set<std::string> said_;
};

}  // namespace casdm
