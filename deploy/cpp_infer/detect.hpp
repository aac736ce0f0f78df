// Text detection as PaddleOCR's Python does it, step by step, so that both find the same pixels.
#pragma once

#include <array>
#include <filesystem>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

// What an export's inference.yml says, by its own keys, with PaddleOCR's defaults.
struct Settings {
    bool ignore_orientation = false;  // DecodeImage: of the camera, which EXIF data has
    bool rgb = true;                  // the network's channels; false: blue first
    cv::Size image_shape;             // DetResizeForTest: pixels; empty: by limit_side_len
    int limit_side_len = 736;         // pixels
    std::string limit_type = "min";   // "long" is the key resize_long: up to multiples of 128, not 32
    float scale = 1.F / 255.F;        // NormalizeImage
    std::array<float, 3> mean = {0.485F, 0.456F, 0.406F}, deviation = {0.229F, 0.224F, 0.225F};
    float thresh = 0.3F, box_thresh = 0.7F;  // DBPostProcess
    std::size_t max_candidates = 1000;
    double unclip_ratio = 2.0;
    bool use_dilation = false;

    cv::Size network_size(cv::Size image) const;  // of an image of `image` pixels, for the network
};

// Throws std::runtime_error with the file and the key where it says what is not supported here.
Settings read_settings(const std::filesystem::path& file);

using Box = std::array<std::array<int, 2>, 4>;  // x and y: top left, top right, bottom right, bottom left

// The boxes in `map`, float [H, W], in pixels of an image of the size `image`: Liao et al., "Real-time Scene Text
// Detection with Differentiable Binarization", AAAI 2020.
std::vector<Box> boxes_of(const cv::Mat& map, cv::Size image, const Settings& settings);
