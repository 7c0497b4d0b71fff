#pragma once

namespace casdm {

/// Lets malloc keep freed memory for the next step instead of returning it to the system, which would have to map and
/// clear it again at every step. MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ in the environment take precedence.
void keep_freed_memory();

}  // namespace casdm
