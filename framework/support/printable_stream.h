#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace casdm {

/// While this object lives, everything written to `stream` is escaped like `printable` of casdm/text.h: text from a
/// file cannot control the terminal, whoever prints it.
class PrintableStream final : private std::streambuf {
 public:
  explicit PrintableStream(std::ostream& stream);
  ~PrintableStream() override;
  PrintableStream(const PrintableStream&) = delete;
  PrintableStream& operator=(const PrintableStream&) = delete;

 private:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* data, std::streamsize size) override;
  int sync() override;
  bool write(std::string_view text);

  std::ostream& stream_;
  std::streambuf* target_;
  std::string cut_;  ///< an incomplete UTF-8 character
};

}  // namespace casdm
