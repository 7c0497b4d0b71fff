#pragma once

namespace casdm {

/// Whether this is compiled with the address or thread sanitizer. The sanitizer's library must be loaded before any
/// preloaded one. Such programs are several times slower, keep freed memory, and abort when they ask for more memory
/// than there can be.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kIsSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kIsSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kIsSanitized = false;
#endif

}  // namespace casdm
