#include "framework/support/printable_stream.h"

#include <algorithm>
#include <utility>

#include "casdm/text.h"

namespace casdm {

namespace {

/// The number of bytes at the end of `text` that form an incomplete UTF-8 character.
std::size_t begun_at_end(std::string_view text) {
  for (std::size_t length = 1; length <= std::min<std::size_t>(3, text.size()); ++length) {
    const auto byte = static_cast<unsigned char>(text[text.size() - length]);
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const std::size_t whole = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return whole > length ? length : 0;
  }
  return 0;
}

}  // namespace

PrintableStream::PrintableStream(std::ostream& stream) : stream_(stream), target_(stream.rdbuf(this)) {}

PrintableStream::~PrintableStream() {
  write(printable(std::exchange(cut_, "")));
  stream_.rdbuf(target_);
}

PrintableStream::int_type PrintableStream::overflow(int_type c) {
  if (c == traits_type::eof()) return traits_type::not_eof(c);
  const char letter = traits_type::to_char_type(c);
  return xsputn(&letter, 1) == 1 ? c : traits_type::eof();
}

std::streamsize PrintableStream::xsputn(const char* data, std::streamsize size) {
  std::string text = std::exchange(cut_, "") + std::string(data, static_cast<std::size_t>(size));
  const std::size_t begun = begun_at_end(text);
  cut_ = text.substr(text.size() - begun);
  text.resize(text.size() - begun);
  return write(printable(text)) ? size : 0;
}

int PrintableStream::sync() { return target_->pubsync(); }

bool PrintableStream::write(std::string_view text) {
  return target_->sputn(text.data(), static_cast<std::streamsize>(text.size())) ==
         static_cast<std::streamsize>(text.size());
}

}  // namespace casdm
