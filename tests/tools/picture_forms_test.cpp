// Every form of picture file beside Pillow: tests/fixtures/make_picture_forms.py says how.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "tests/tools/temporary_folder.h"
#include "tools/data/image.h"

namespace tapescope {
namespace {

struct Form {
  std::string name;
  std::vector<std::uint8_t> file;
  Image seen;
  int levels = 0;
};

// Records of the fixture; see the script.
std::vector<Form> forms() {
  std::vector<Form> all;
  const std::vector<std::uint8_t> bytes = get(fixture("picture_forms.bin"));
  for (std::size_t at = 0; at < bytes.size();) {
    const auto end = std::find(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), '\n');
    std::istringstream line(std::string(bytes.begin() + static_cast<std::ptrdiff_t>(at), end));
    Form form;
    std::size_t size = 0;
    line >> form.name >> size >> form.seen.width >> form.seen.height >> form.levels;
    EXPECT_TRUE(static_cast<bool>(line));
    auto from = end + 1;
    form.file.assign(from, from + static_cast<std::ptrdiff_t>(size));
    from += static_cast<std::ptrdiff_t>(size);
    const std::ptrdiff_t pixels = std::ptrdiff_t{form.seen.height} * form.seen.width * 3;
    form.seen.pixels.assign(from, from + pixels);
    at = static_cast<std::size_t>(from + pixels - bytes.begin());
    all.push_back(std::move(form));
  }
  return all;
}

bool is_optional(const std::string& name, const char* library) {
  const std::vector<std::string> there = decoder_versions();
  return std::none_of(there.begin(), there.end(),
                      [&](const std::string& version) { return version.starts_with(library); }) &&
         (name.ends_with(".webp") || name.ends_with(".tif"));
}

bool skipped(const std::string& name) {
  return (name.ends_with(".webp") && is_optional(name, "libwebp")) ||
         (name.ends_with(".tif") && is_optional(name, "libtiff"));
}

int worst(const Image& a, const Image& b) {
  int worst = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  }
  return worst;
}

TEST(PictureForms, EveryFormIsSeenAsPillowSeesIt) {
  int compared = 0;
  for (const Form& form : forms()) {
    if (skipped(form.name)) continue;
    ++compared;
    Image image;
    ASSERT_NO_THROW(
        try { image = decode_image(form.file, form.name); } catch (const Error& error) {
          ADD_FAILURE() << error.what();
          continue;
        });
    if (image.height != form.seen.height || image.width != form.seen.width) {
      ADD_FAILURE() << form.name << " is " << image.width << "x" << image.height;
      continue;
    }
    EXPECT_LE(worst(image, form.seen), form.levels) << form.name;
  }
  EXPECT_GE(compared, 60);
}

TEST(PictureForms, SizesComeFromHeadersAlone) {
  const TemporaryFolder folder;
  for (const Form& form : forms()) {
    if (skipped(form.name)) continue;
    put(folder / form.name, form.file);
    const ImageSize size = read_image_size(folder / form.name);
    EXPECT_EQ(size.height, form.seen.height) << form.name;
    EXPECT_EQ(size.width, form.seen.width) << form.name;
    const MeasuredImage measured = measure_image(folder / form.name);
    const Image stored = decode_image(form.file, form.name, 3, Exif::ignore);
    EXPECT_EQ(measured.stored.height, stored.height) << form.name;
    EXPECT_EQ(measured.stored.width, stored.width) << form.name;
    EXPECT_EQ(measured.orientation, image_orientation(form.file)) << form.name;
  }
}

// Text of PNM may end in a digit of its last number; TIFF's and WebP's padding may be missing.
TEST(PictureForms, CutFormsAreErrorsOrTheWholePicture) {
  for (const Form& form : forms()) {
    if (skipped(form.name)) continue;
    for (std::size_t size = 0; size < form.file.size(); size += size < 64 ? 1 : 37) {
      try {
        const Image image = decode_image(std::span(form.file).first(size), form.name);
        if (image.width == form.seen.width && image.height == form.seen.height) {
          EXPECT_LE(worst(image, form.seen), form.levels) << form.name << " cut to " << size;
        }
      } catch (const Error& error) {
        EXPECT_EQ(error.blame(), Blame::usage);
      }
    }
  }
}

TEST(PictureForms, GreyIsPillowsLuma) {
  // (19595 r + 38470 g + 7471 b + 32768) / 65536: Pillow's own numbers for four colours.
  const std::string text = "P3\n4 1\n255\n255 0 0  0 255 0  0 0 255  10 20 30\n";
  const Image grey = decode_image(
      std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()), "x.ppm", 1);
  EXPECT_EQ(grey.pixels, (std::vector<std::uint8_t>{76, 150, 29, 18}));
}

}  // namespace
}  // namespace tapescope
