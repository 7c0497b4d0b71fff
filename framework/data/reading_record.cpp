#include "framework/data/reading_record.h"

#include <algorithm>
#include <utility>

#include "casdm/text.h"
#include "framework/support/one_line.h"

namespace casdm {

bool ReadingRecord::is_unreadable(std::int64_t index) const {
  const std::lock_guard lock(mutex_);
  return unreadable_.contains(index);
}

void ReadingRecord::leave_out(std::int64_t index, const std::string& name, const std::string& message) {
  const std::lock_guard lock(mutex_);
  if (!unreadable_.insert(index).second) return;
  warnings_.push_back(text("skipped an image: ", one_line(message)));
  // Without the image's name, the message is the same for all images with the same fault.
  const std::size_t found = message.find(name);
  const std::size_t reason = found == std::string::npos ? 0 : message.find_first_not_of(": ", found + name.size());
  ++reasons_[one_line(reason == std::string::npos ? message : message.substr(reason))];
}

void ReadingRecord::remark(std::int64_t index, const std::string& message) {
  const std::lock_guard lock(mutex_);
  remarks_[one_line(message)].insert(index);
}

std::vector<std::string> ReadingRecord::take_warnings() {
  const std::lock_guard lock(mutex_);
  return std::exchange(warnings_, {});
}

std::vector<std::string> ReadingRecord::take_summary() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  if (!unreadable_.empty()) lines.push_back(left_out());
  for (const auto& [message, images] : remarks_) lines.push_back(text(of_images(images.size()), ' ', message));
  std::erase_if(lines, [&](const std::string& line) { return !said_.insert(line).second; });
  return lines;
}

std::string ReadingRecord::left_out() const {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : reasons_) parts.push_back(text(count, " ", reason));
  return text("left out ", of_images(unreadable_.size()), ": ", join(parts, "; "));
}

std::string ReadingRecord::of_images(std::size_t count) const {
  if (is_share_) return text(count, " of the images that this process has read");
  return text(count, " of ", size_, " images");
}

}  // namespace casdm
