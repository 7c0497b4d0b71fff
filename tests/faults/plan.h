#pragma once

#include <csignal>
#include <string>

/// What goes wrong in a process, as a list of words:
///
///   under=PATH           only calls on this folder and what is in it count, from 1; without it nothing happens
///   report=FILE          a line for each of them: number, call, path
///   at=N                 the call that goes wrong
///   fail=ERRNO [last=M]  calls N to M (N alone) return this error
///   kill=before|after|within   SIGKILL before or after call N, or after half of the data it writes;
///                        delay=MICROSECONDS: later; signal=NUMBER: another signal, after which the process may
///                        continue
///   cut=ordered|strict shadow=DIR   a power failure before call N; see power_cut.h
struct Plan {
  std::string under, report, fail, kill, cut, shadow;
  long at = 0, last = 0, delay = 0, signal = SIGKILL;
};

Plan plan_of(const std::string& words);

/// Plans the faults of this process; calls are counted anew.
void set_fault_plan(const std::string& words);
