#pragma once

#include <string>

/// The faults planned for this process; see calls.cpp for the words of a plan.
void set_fault_plan(const std::string& plan);
