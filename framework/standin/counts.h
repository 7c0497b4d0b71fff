#pragma once

#include <cstdint>
#include <string>

namespace casdm::standin {

void count_launch(const std::string& name);
void count_allocation();
void count_item();
void count_free_copy();

/// @param reason  "copy to the device"; the component whose code this thread runs is added
void count_wait(const std::string& reason, std::int64_t bytes = 0);

}  // namespace casdm::standin
