#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace casdm {

/// NCCL's functions. They work on the memory of GPUs, whatever the type of a pointer here.
class Nccl {
 public:
  /// Loads the first of these libraries that can be loaded; it stays loaded. Throws Error.
  explicit Nccl(const std::vector<std::string>& libraries);

  /// "2.28.9"
  std::string version() const;

  /// What processes that connect to each other have in common.
  struct Id {
    std::array<char, 128> bytes;
  };
  using Group = void*;

  /// The functions below throw Error with NCCL's reason.
  Id new_id() const;

  /// Returns once all have called it.
  Group connect(const Id& id, int rank, int size) const;

  /// Queue an operation on a stream of the current device.
  void sum(Group group, float* elements, std::size_t count, void* stream) const;
  void broadcast(Group group, float* elements, std::size_t count, int from, void* stream) const;

  /// Operations between the two are queued as one.
  void begin() const;
  void end() const;

  /// Throws if an operation that was queued has failed.
  void check(Group group) const;

  /// Ends the group, with what is still queued.
  void abort(Group group) const { abort_(group); }

 private:
  void require(int result, const char* what, Group group = nullptr) const;

  // Declared here, since no wheel that we require contains NCCL's header.
  int (*version_)(int*);
  int (*id_)(Id*);
  int (*connect_)(Group*, int, Id, int);
  int (*sum_)(const void*, void*, std::size_t, int, int, Group, void*);
  int (*broadcast_)(const void*, void*, std::size_t, int, int, Group, void*);
  int (*begin_)();
  int (*end_)();
  int (*state_)(Group, int*);
  int (*abort_)(Group);
  const char* (*reason_)(int);
  const char* (*last_)(Group);
};

}  // namespace casdm
