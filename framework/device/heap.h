#pragma once

namespace casdm {

/// Lets malloc keep freed memory for the next step instead of giving it back to the system, which would have to map and
/// clear it again at every step. MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ in the environment go before.
void keep_freed_memory();

}  // namespace casdm
