-- Reviews and mean rating of each month
SELECT
  date_trunc('month', event_timestamp) AS review_month,
  count(*) AS reviews,
  avg(rating) AS mean_rating,
  avg(sentiment) AS mean_sentiment
FROM reviews
GROUP BY date_trunc('month', event_timestamp)
ORDER BY review_month
