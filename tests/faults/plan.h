#pragma once

#include <string>

/// What is to go wrong in this process; see calls.cpp for the words of a plan.
void set_fault_plan(const std::string& plan);
