#pragma once

namespace casdm {

/// From here on, a tensor on the CPU for which the machine or the control group has no room is refused, with the
/// exception of a failed allocation. Linux itself promises more memory than there is, and kills the process when it is
/// used.
void refuse_what_memory_lacks();

}  // namespace casdm
