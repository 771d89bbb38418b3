-- Reviews and mean rating of each month
SELECT
  date_trunc('month', event_timestamp) AS review_month,
  count(*) AS reviews,
  round(avg(rating), 3) AS mean_rating,
  round(avg(sentiment), 3) AS mean_sentiment
FROM reviews
GROUP BY date_trunc('month', event_timestamp)
ORDER BY review_month
