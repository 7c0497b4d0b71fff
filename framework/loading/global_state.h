#pragma once

#include <string>

namespace casdm {

/// State of the whole process or thread that a component must leave as it was: LibTorch's default dtype, grad mode,
/// autocast, deterministic algorithms, use of oneDNN and cuDNN, precision of products, number of threads and global
/// generator; signal handlers and mask, working folder, locale, rounding and denormals.
///
/// RunningComponent calls `begin_watch` before and `end_watch` after each call into a plugin. On the main thread all of
/// it is compared. On other threads only the thread's own state is, since changes of the rest may be the main thread's
/// doing; the host reads some images on the main thread before it trains. Changes are undone, and the first
/// one is remembered until the host asks.
void begin_watch();

/// @param component  whose call has ended; null: a backward pass, which runs code of unknown ones
void end_watch(const char* component);

/// Watches a backward pass.
struct WatchedBackward {
  WatchedBackward() { begin_watch(); }
  ~WatchedBackward() { end_watch(nullptr); }
  WatchedBackward(const WatchedBackward&) = delete;
  WatchedBackward& operator=(const WatchedBackward&) = delete;
};

/// If a component changed any of this since the last call, throws PluginError that names the component and the change.
/// The host calls it once per step, before weights change.
void require_unchanged_state();

}  // namespace casdm
