// Other formats that weights come in, by their first bytes.
#pragma once

#include <string>
#include <string_view>

namespace tapescope {

// What a file is that begins with `head` (up to 512 bytes) and is no safetensors file, and what to
// do, as the rest of a sentence: "is a PyTorch file (.pth, .pt); save it with ...". Empty where the
// bytes are of nothing that is known.
std::string foreign_format(std::string_view head);

}  // namespace tapescope
