#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace casdm::standin {

/// Copies that nobody waits for when they are queued: to pinned memory of the host, and to the device on another stream
/// than the default one. As on CUDA, the values may be missing until the host, or a stream, has waited for something
/// that was queued later: the memory holds NaN, or impossible numbers, until then.

/// Queues one; both are tensors of the CPU, or of the device's memory (see OnHost).
void queue_copy(const at::Tensor& to, const at::Tensor& values);

/// The number queued so far, for `make_copies`.
std::int64_t queued_copies();

/// Makes the copies that were queued before the number was `count`.
void make_copies(std::int64_t count);

}  // namespace casdm::standin
