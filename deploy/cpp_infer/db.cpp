#include <clipper.hpp>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "detect.hpp"

using Corners = std::array<cv::Point2f, 4>;  // in the order of Box

static Corners corners_of(const cv::RotatedRect& rectangle) {
    Corners points;
    rectangle.points(points.data());
    std::stable_sort(points.begin(), points.end(), [](const auto& one, const auto& two) { return one.x < two.x; });
    if (points[1].y <= points[0].y) std::swap(points[0], points[1]);
    if (points[3].y <= points[2].y) std::swap(points[2], points[3]);
    return {points[0], points[2], points[3], points[1]};
}

static bool thin(const cv::RotatedRect& one, float side) { return std::min(one.size.width, one.size.height) < side; }

// The mean of the map within a box.
static double score(const cv::Mat& map, const Corners& corners) {
    const auto [left, right] = std::minmax({corners[0].x, corners[1].x, corners[2].x, corners[3].x});
    const auto [top, bottom] = std::minmax({corners[0].y, corners[1].y, corners[2].y, corners[3].y});
    const auto within = [](float place, int size) { return std::clamp(static_cast<int>(place), 0, size - 1); };
    const cv::Point first(within(std::floor(left), map.cols), within(std::floor(top), map.rows));
    const cv::Point last(within(std::ceil(right), map.cols), within(std::ceil(bottom), map.rows));
    std::vector<cv::Point> inside;
    for (const auto& [x, y] : corners) inside.emplace_back(int(x - first.x), int(y - first.y));
    const cv::Rect around(first, last + cv::Point(1, 1));
    cv::Mat mask = cv::Mat::zeros(around.size(), CV_8U);
    cv::fillPoly(mask, std::vector{inside}, 1);
    return cv::mean(map(around), mask)[0];
}

// A box grown on all sides; empty where it falls into parts.
static std::vector<cv::Point> unclipped(const Corners& corners, double ratio) {
    ClipperLib::Path path;
    for (const auto& [x, y] : corners) path.emplace_back(int(x), int(y));
    ClipperLib::ClipperOffset offset;
    offset.AddPath(path, ClipperLib::jtRound, ClipperLib::etClosedPolygon);
    ClipperLib::Paths grown;
    offset.Execute(grown, cv::contourArea(corners) * ratio / cv::arcLength(corners, true));
    std::vector<cv::Point> outline;
    if (grown.size() == 1)
        for (const auto& point : grown[0]) outline.emplace_back(int(point.X), int(point.Y));
    return outline;
}

std::vector<Box> boxes_of(const cv::Mat& map, cv::Size image, const Settings& settings) {
    constexpr float min_side = 3;  // pixels of the map
    cv::Mat text = map > settings.thresh;
    if (settings.use_dilation) cv::dilate(text, text, cv::Mat::ones(2, 2, CV_8U));
    std::vector<std::vector<cv::Point>> outlines;
    cv::findContours(text, outlines, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
    outlines.resize(std::min(outlines.size(), settings.max_candidates));
    const auto scaled = [](float place, int from, int to) {
        return std::clamp(static_cast<int>(std::nearbyint(place / from * to)), 0, to);
    };
    std::vector<Box> boxes;
    for (const auto& outline : outlines) {
        const cv::RotatedRect rectangle = cv::minAreaRect(outline);
        const Corners corners = corners_of(rectangle);
        if (thin(rectangle, min_side) || score(map, corners) < settings.box_thresh) continue;
        const auto grown = unclipped(corners, settings.unclip_ratio);
        if (grown.empty() || thin(cv::minAreaRect(grown), min_side + 2)) continue;
        const Corners ends = corners_of(cv::minAreaRect(grown));
        Box& box = boxes.emplace_back();
        for (std::size_t i = 0; i < box.size(); ++i)
            box[i] = {scaled(ends[i].x, map.cols, image.width), scaled(ends[i].y, map.rows, image.height)};
    }
    return boxes;
}
