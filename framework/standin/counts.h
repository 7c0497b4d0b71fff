#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace casdm::standin {

void count_launch(const std::string& name);
void count_allocation();
void count_item();
void count_free_copy(bool is_aside);

/// A place in what was queued on the device, by what was queued before it.
struct QueuePlace {
  std::int64_t launches = std::numeric_limits<std::int64_t>::max();
  std::int64_t copies = std::numeric_limits<std::int64_t>::max();
};
QueuePlace end_of_queue();

/// From now on nothing that is queued on the calling thread's stream, or on one that waits for it, is ever done, as on
/// a GPU that waits for a process that is gone.
void hang();

/// Whether that holds for the calling thread's stream.
bool is_hanging();

/// @param reason  "copy to the device"; the component whose code this thread runs is added
/// @param until   what is waited for; by default everything
void count_wait(const std::string& reason, std::int64_t bytes = 0, const QueuePlace& until = {});

}  // namespace casdm::standin
